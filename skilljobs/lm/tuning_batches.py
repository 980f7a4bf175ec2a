"""Which examples a step of tuning is taken on."""

from collections.abc import Callable, Sequence
from functools import lru_cache

import torch

from skilljobs.lm.batch import TokenizedExample
from skilljobs.lm.results import TUNING_BATCH

BATCHES_SORTED = 8
"""The number of batches among which examples are sorted by length, to reduce padding."""
ORDERS_HELD = 16
"""One for each soft prompt that is tuned side by side."""
Fetch = Callable[[Sequence[int]], list[TokenizedExample]]
"""The examples at given places."""


def batches_of_epoch(count: int) -> int:
    """Return how many batches `count` examples make: of `TUNING_BATCH` examples each, or nearly."""
    return max(1, round(count / TUNING_BATCH))


def draw_batch(count: int, fetch: Fetch, seed: int, step: int) -> list[int]:
    """Return the places of the batch of the step that follows `step` steps, sorted by the length of their texts.

    It is a pure function of seed and step, so that a resumed run draws the same. Of the `count` examples, only those
    among which the batch is chosen are fetched.

    The examples are put into a random order, which is cut into batches of nearly equal size. Within a stretch of
    `BATCHES_SORTED` batches, examples of similar length are batched together. All epochs have the same batches, so that
    what is read of their texts can be kept; each but the first has them in a random order, and the first has those of a
    stretch so.
    """
    batches = batches_of_epoch(count)
    epoch, turn = divmod(step, batches)
    number = _turns(batches, seed, epoch)[turn] if epoch else turn
    stretch = number // BATCHES_SORTED
    first = stretch * BATCHES_SORTED
    last = min(batches, first + BATCHES_SORTED)
    start, stop = _bound(count, first), _bound(count, last)
    drawn: list[int] = _order(count, seed)[start:stop].tolist()
    lengths = {place: len(example.text) for place, example in zip(drawn, fetch(drawn), strict=True)}
    places = sorted(drawn, key=lengths.__getitem__)
    generator = torch.Generator().manual_seed(stretch)
    chosen = first + int(torch.randperm(last - first, generator=generator)[number - first])
    return places[_bound(count, chosen) - start : _bound(count, chosen + 1) - start]


def places_drawn(count: int, seed: int, steps: int) -> list[int]:
    """The places of all examples that `draw_batch` fetches in so many steps, in order."""
    batches = batches_of_epoch(count)
    if steps >= batches:
        return list(range(count))
    stretches = -(-steps // BATCHES_SORTED)
    return sorted(_order(count, seed)[: _bound(count, min(batches, stretches * BATCHES_SORTED))].tolist())


def _bound(count: int, number: int) -> int:
    """Where the batch of this number begins in the order of all examples."""
    return number * count // batches_of_epoch(count)


@lru_cache(maxsize=ORDERS_HELD)
def _order(count: int, seed: int) -> torch.Tensor:
    """The order of all examples."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed * 1_000_003))


@lru_cache(maxsize=ORDERS_HELD)
def _turns(batches: int, seed: int, epoch: int) -> list[int]:
    """The order of all batches in an epoch after the first."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    turns: list[int] = torch.randperm(batches, generator=generator).tolist()
    return turns
