"""Changing the activations of neurons in the passes of a model (see `skilljobs.neurons.changes`)."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from types import TracebackType
from typing import Any

import torch
from torch.utils.hooks import RemovableHandle

from skilljobs.errors import InputError
from skilljobs.neurons.changes import Applied, Now, SiteChange
from skilljobs.neurons.expert_interventions import change_experts, reason_against
from skilljobs.neurons.experts import ExpertNeurons
from skilljobs.neurons.sites import LayerSites, ProjectionInput, Site, Window


class Intervention:
    """As a context, makes `changes` in every pass that it is told of, at positions of kind 0 and above.

    Raises:
        InputError: a site is of units that cannot be changed.
    """

    def __init__(self, changes: Sequence[tuple[Site, SiteChange]]) -> None:
        self._changes = changes
        self._stack = ExitStack()
        self._kinds: torch.Tensor | None = None
        self._owners: torch.Tensor | None = None
        self._positions = slice(0, 0)

    def begin_pass(self, kinds: torch.Tensor, owners: torch.Tensor | None = None) -> None:
        """See `PassWatcher`."""
        self._kinds, self._owners = kinds, owners
        places = (kinds >= 0).any(0).nonzero().flatten().tolist()
        self._positions = slice(places[0], places[-1] + 1) if places else slice(0, 0)

    def __enter__(self) -> "Intervention":
        for site, change in self._changes:
            handle = _hooks_of(site)(site, partial(self._applied, change))
            self._stack.callback(handle.remove)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _applied(self, change: SiteChange) -> Applied | None:
        """The changes of a site in this pass; None if there are none."""
        assert self._kinds is not None, "the passes inside an intervention are announced to it"
        if self._positions.stop == self._positions.start:
            return None
        if self._owners is not None:
            change = change.for_sequences(self._owners)
        window = Window(len(self._kinds), self._positions, "each")
        return Applied(change, window, self._kinds[change.rows, self._positions])


def check_changeable(layers: Sequence[LayerSites]) -> None:
    """Refuse units whose activations cannot be changed.

    Raises:
        InputError: gives the reason.
    """
    for layer in layers:
        for site in layer.sites:
            _hooks_of(site)


@torch.no_grad()
def output_norms(site: Site) -> torch.Tensor:
    """The norm of what each neuron of a site adds to the stream per unit of activation: float64, one for each.

    Raises:
        InputError: the site's units add nothing of their own to the stream.
    """
    _hooks_of(site)
    if isinstance(site, ExpertNeurons):
        return torch.cat([site.directions(expert).double().norm(dim=1) for expert in range(len(site.chosen))]).cpu()
    assert isinstance(site, ProjectionInput)
    norms: torch.Tensor = site.directions().double().norm(dim=1).cpu()
    return norms


def _hooks_of(site: Site) -> Callable[[Any, Now], RemovableHandle]:
    if isinstance(site, ProjectionInput):
        return _change_input
    if isinstance(site, ExpertNeurons):
        reason = reason_against(site)
        if reason is None:
            return change_experts
        raise InputError(reason)
    raise InputError(
        f"{type(site).__name__} cannot be silenced: only the neurons of an FFN can, since theirs is the one activation"
        " that the model reads where it is read here"
    )


def _change_input(site: ProjectionInput, now: Now) -> RemovableHandle:
    def change(_: Any, arguments: tuple[Any, ...]) -> tuple[Any, ...] | None:
        applied = now()
        if applied is None:
            return None
        changed = arguments[0].clone(memory_format=torch.contiguous_format)
        values, rows, columns = applied.window.at_positions(changed), applied.change.rows, applied.change.columns
        values[rows, :, columns] = applied.changed(values[rows, :, columns])
        return changed, *arguments[1:]

    return site.projection.register_forward_pre_hook(change)
