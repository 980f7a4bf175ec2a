"""The places in a model where activations are read, and reading them in a forward pass."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import distributed, nn
from torch.distributed.tensor import DTensor
from torch.utils.hooks import RemovableHandle

from skilljobs.errors import InputError
from skilljobs.stats.neurons import LayerNeurons

TokenMode = Literal["mean", "each", "last"]
_COLUMNS_AT_ONCE = 256
"""Columns of packed weights that are unpacked in one product."""


@dataclass(frozen=True)
class Window:
    """What is kept of a pass: the values at `positions` of each of `batch_size` sequences, as `tokens` says."""

    batch_size: int
    positions: slice
    tokens: TokenMode

    def kept(self, values: torch.Tensor) -> torch.Tensor:
        """The values that are kept, float64, batch x tokens x neurons.

        `values` are those of whole sequences, batch x positions x neurons; some models flatten batch and positions.

        Raises:
            InputError: `values` has another shape.
        """
        return self.reduced(self.at_positions(values))

    def at_positions(self, values: torch.Tensor) -> torch.Tensor:
        """The values at the window's positions, batch x positions x neurons; as `kept` otherwise."""
        if values.ndim == 2 and len(values) % self.batch_size == 0:
            values = values.unflatten(0, (self.batch_size, -1))
        if values.ndim != 3 or len(values) != self.batch_size:
            raise InputError(
                f"the FFN's input is not batch x positions x neurons, but has the shape {tuple(values.shape)}:"
                " this architecture is not supported"
            )
        return values[:, self.positions]

    def reduced(self, values: torch.Tensor) -> torch.Tensor:
        """Of the values at all positions of the window, those that are kept. They become float64 before the mean."""
        match self.tokens:
            case "mean":
                return values.mean(1, keepdim=True, dtype=torch.float64)
            case "last":
                return values[:, -1:].double()
            case "each":
                return values.double()


Keep = Callable[[torch.Tensor], None]


class Site(Protocol):
    """One module whose neurons are read."""

    def read(self, window: Window, keep: Keep) -> RemovableHandle:
        """Give `keep` the activations in `window` (float64, batch x tokens x neurons) at each pass, until removed."""

    def output_direction(self, neuron: int) -> torch.Tensor | None:
        """What a positive activation of this one of the site's neurons adds to the stream, a vector of d_model.

        None if its activation does not tell.
        """


class ProjectionInput:
    """The neurons of an FFN: the input of its down projection."""

    def __init__(self, projection: nn.Module) -> None:
        self.projection = projection

    @property
    def width(self) -> int:
        """The number of neurons."""
        in_features = getattr(self.projection, "in_features", None)
        return int(in_features if in_features is not None else self.projection.weight.shape[0])  # type: ignore[union-attr, index]

    def read(self, window: Window, keep: Keep) -> RemovableHandle:
        """See `Site`."""

        def keep_input(_: nn.Module, arguments: tuple[Any, ...]) -> None:
            keep(window.kept(arguments[0]))

        return self.projection.register_forward_pre_hook(keep_input)

    def output_direction(self, neuron: int) -> torch.Tensor:
        """See `Site`."""
        if not self._weight.is_floating_point():
            return _packed_columns(self.projection, [neuron])[0]
        return selected(self._weight, 1 if isinstance(self.projection, nn.Linear) else 0, neuron)

    def directions(self) -> torch.Tensor:
        """The output directions of all neurons: neurons x d_model."""
        if not self._weight.is_floating_point():
            every, block = range(self.width), _COLUMNS_AT_ONCE
            parts = [every[start : start + block] for start in range(0, self.width, block)]
            return torch.cat([_packed_columns(self.projection, part) for part in parts])
        return self._weight.T if isinstance(self.projection, nn.Linear) else self._weight

    @property
    def _weight(self) -> torch.Tensor:
        weight: torch.Tensor = self.projection.weight  # type: ignore[assignment]
        return weight


@dataclass(frozen=True)
class LayerSites:
    """Where the neurons of one layer are read; `neurons` names them, site after site."""

    module: nn.Module
    neurons: LayerNeurons
    sites: tuple[Site, ...]
    places: NDArray[np.int64] | None = None
    """Of a model that several ranks hold together: the places among `neurons` of those that this rank reads."""

    @property
    def dense_columns(self) -> int:
        """How many dense neurons are read here; they come first."""
        return self.neurons.dense if self.places is None else int((self.places < self.neurons.dense).sum())

    def column(self, place: int) -> int | None:
        """The place, among what is read here, of the neuron at a place of `neurons`; None if another rank reads it."""
        if self.places is None:
            return place
        found = np.flatnonzero(self.places == place)
        return int(found[0]) if len(found) else None


@contextmanager
def _first_of(site: Site, window: Window, keep: Keep) -> Iterator[None]:
    """Give `keep` what `site` reads in the first pass alone: later ones are of other positions."""

    def keep_once(values: torch.Tensor) -> None:
        handle.remove()
        keep(values)

    handle = site.read(window, keep_once)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def capture_activations(layers: Sequence[LayerSites], window: Window) -> Iterator[list[torch.Tensor]]:
    """Read the activations of `layers` in the first forward pass inside the block.

    At the end of the block, the list that it was given holds one float64 tensor per layer: batch x tokens x neurons,
    with one token unless `window.tokens` is `each`.

    Raises:
        InputError: a layer's FFN has an input of another shape, or was not called.
    """
    activations: list[torch.Tensor] = []
    kept: list[dict[int, torch.Tensor]] = [{} for _ in layers]
    with ExitStack() as stack:
        for layer, found in zip(layers, kept, strict=True):
            for number, site in enumerate(layer.sites):
                stack.enter_context(_first_of(site, window, partial(found.__setitem__, number)))
        yield activations
    for layer, found in zip(layers, kept, strict=True):
        if len(found) < len(layer.sites):
            raise not_called(layer)
        values = [found[number] for number in range(len(layer.sites))]
        activations.append(values[0] if len(values) == 1 else torch.cat(values, -1))


def not_called(layer: LayerSites) -> InputError:
    """What is wrong with a model in which a pass did not reach a site of this layer."""
    return InputError(
        f"the model does not call the FFN of layer {layer.neurons.layer} as a module: its neurons cannot be read"
    )


def selected(weight: torch.Tensor, dimension: int, index: int) -> torch.Tensor:
    """What stands at one place along a dimension of a weight. If several ranks share it, all must ask for it."""
    if not isinstance(weight, DTensor):
        return weight.select(dimension, index)
    held, mesh = weight.to_local(), weight.device_mesh
    if not weight.placements[0].is_shard(dimension):
        raise InputError(f"ranks share a weight as {weight.placements}, in which no neuron's part can be found")
    place = index - mesh.get_local_rank() * held.shape[dimension]
    is_here = 0 <= place < held.shape[dimension]
    found = held.select(dimension, place).clone() if is_here else torch.zeros_like(held.select(dimension, 0))
    distributed.all_reduce(found, group=mesh.get_group())
    return found


def _packed_columns(projection: nn.Module, places: Sequence[int]) -> torch.Tensor:
    """What a linear layer whose weights are packed makes of 1 at each place of its input, without its bias."""
    weight: torch.Tensor = projection.weight  # type: ignore[assignment]
    units = torch.zeros(1 + len(places), 1, int(projection.in_features), device=weight.device, dtype=torch.float32)  # type: ignore[arg-type]
    units[torch.arange(len(places)), 0, torch.tensor(places)] = 1.0
    found: torch.Tensor = projection(units)
    return (found[:-1] - found[-1:])[:, 0]
