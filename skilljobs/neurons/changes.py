"""What becomes of the activations of some neurons in a pass, each row of a batch in its own way.

A changed activation is `scale * activation + shift`, where the shift depends on the kind of position (`LEFT_ALONE`,
or a number from 0). Whoever runs the passes says before each of them which kind every position is of.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import torch

from skilljobs.neurons.sites import Window

LEFT_ALONE = -1
"""The kind of a position where nothing is changed: padding, and whatever is not meant."""


class PassWatcher(Protocol):
    """What is told about each pass of the model before it runs."""

    def begin_pass(self, kinds: torch.Tensor, owners: torch.Tensor | None = None) -> None:
        """A pass over `kinds` begins: sequences x positions, int64, the kind of each position.

        `owners` says, for each sequence, which row of the batch it belongs to (ascending); None: each its own.
        """


@dataclass(frozen=True)
class SiteChange:
    """Changes at one site: E of them, each of one neuron in one row of the batch.

    `rows` and `columns` (E, int64) are the rows and the neurons' places at the site, no pair of them twice. `shift` is
    E x kinds.
    """

    rows: torch.Tensor
    columns: torch.Tensor
    scale: float
    shift: torch.Tensor

    def for_sequences(self, owners: torch.Tensor) -> "SiteChange":
        """The same changes in every sequence that belongs to a changed row."""
        starts = torch.searchsorted(owners, self.rows)
        counts = torch.searchsorted(owners, self.rows, right=True) - starts
        repeated = torch.repeat_interleave(torch.arange(len(counts), device=counts.device), counts)
        first = torch.repeat_interleave(counts.cumsum(0) - counts, counts)
        within = torch.arange(len(repeated), device=counts.device) - first
        return replace(
            self,
            rows=starts[repeated] + within,
            columns=self.columns[repeated],
            shift=self.shift[repeated],
        )


@dataclass(frozen=True)
class Applied:
    """A site's changes in the present pass. `kinds` is E x positions of `window`."""

    change: SiteChange
    window: Window
    kinds: torch.Tensor

    def changed(self, activations: torch.Tensor) -> torch.Tensor:
        """What becomes of the activations, E x positions."""
        shift = self.change.shift.to(activations.dtype).gather(1, self.kinds.clamp(min=0))
        # what is replaced may be infinite, and infinity times zero is no number
        new = shift if self.change.scale == 0 else self.change.scale * activations + shift
        return torch.where(self.kinds >= 0, new, activations)


Now = Callable[[], Applied | None]
"""Says what is changed at a site in the present pass; None if nothing is."""
