"""The mean activation of every neuron at each kind of position (see `skilljobs.lm.position_kinds`)."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import torch
from torch.utils.hooks import RemovableHandle

from skilljobs.lm.batch import TokenizedExample
from skilljobs.lm.cached_texts import whole_texts
from skilljobs.lm.model import FrozenLM
from skilljobs.lm.passes import continuation_log_probabilities
from skilljobs.lm.position_kinds import kind_count
from skilljobs.neurons.sites import Site, Window


@dataclass(frozen=True)
class PositionSums:
    """Sums of activations over positions, by kind: one tensor a layer, kinds x neurons, and the number of positions
    of each kind; all float64."""

    layers: list[torch.Tensor]
    counts: torch.Tensor

    @classmethod
    def empty(cls, lm: FrozenLM, prompt_length: int) -> "PositionSums":
        """Sums of nothing yet."""
        kinds = kind_count(prompt_length)
        layers = [torch.zeros(kinds, neurons.count, dtype=torch.float64, device=lm.device) for neurons in lm.neurons]
        return cls(layers, torch.zeros(kinds, dtype=torch.float64, device=lm.device))


@torch.inference_mode()
def add_positions(lm: FrozenLM, prompt: torch.Tensor, batch: Sequence[TokenizedExample], sums: PositionSums) -> None:
    """Read text, prompt and continuations of `batch` and add the activations at all positions to `sums`.

    Tokens that continuations share count once where the model reads them once.
    """
    texts = whole_texts(lm, batch)
    with _Adding(lm, sums) as adding:
        continuation_log_probabilities(lm, texts.ids, texts.mask, prompt, batch, watcher=adding)


class _Adding:
    """As a context, adds the activations of every pass that it is told of."""

    def __init__(self, lm: FrozenLM, sums: PositionSums) -> None:
        self._lm, self._sums = lm, sums
        self._handles: list[RemovableHandle] = []
        self._stack = ExitStack()

    def __enter__(self) -> "_Adding":
        self._stack.callback(self._remove)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def begin_pass(self, kinds: torch.Tensor, owners: torch.Tensor | None = None) -> None:
        """See `PassWatcher`."""
        self._remove()
        of_kind = torch.nn.functional.one_hot(kinds.flatten() + 1, len(self._sums.counts) + 1)[:, 1:].double()
        self._sums.counts.add_(of_kind.sum(0))
        window = Window(len(kinds), slice(None), "each")
        for layer, total in zip(self._lm.sites, self._sums.layers, strict=True):
            before = 0
            for site, width in zip(layer.sites, _widths(layer.neurons.dense, total.shape[1], layer.sites), strict=True):
                keep = partial(_add, total[:, before : before + width], of_kind.T)
                self._handles.append(site.read(window, keep))
                before += width

    def _remove(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()


def _widths(dense: int, count: int, sites: Sequence[Site]) -> list[int]:
    """The number of neurons of each site of a layer: dense ones come first."""
    return [count] if len(sites) == 1 else [dense, count - dense]


def _add(total: torch.Tensor, of_kind: torch.Tensor, values: torch.Tensor) -> None:
    total += (of_kind.to(values.device) @ values.flatten(0, 1)).to(total.device)
