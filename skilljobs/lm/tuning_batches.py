"""Which examples a step of tuning is taken on."""

from collections.abc import Callable, Sequence
from functools import lru_cache

import torch

from skilljobs.lm.batch import TokenizedExample
from skilljobs.lm.results import TUNING_BATCH

BATCHES_SORTED = 8
"""The number of batches among which examples are sorted by length, to reduce padding."""


Fetch = Callable[[Sequence[int]], list[TokenizedExample]]
"""The examples at given places."""


def draw_batch(count: int, fetch: Fetch, seed: int, step: int) -> list[int]:
    """Return the places of the batch of the step that follows `step` steps, sorted by the length of their texts.

    It is a pure function of seed and step, so that a resumed run draws the same. Of the `count` examples, only those
    among which the batch is chosen are fetched.

    An epoch is a random order of the examples, cut into stretches of `BATCHES_SORTED` batches. Within a stretch,
    examples of similar length are batched together, and the batches come in random order.
    """
    per_epoch = max(1, count // TUNING_BATCH)
    epoch, place = divmod(step, per_epoch)
    stretch, within = divmod(place, BATCHES_SORTED)
    batches = min(BATCHES_SORTED, per_epoch - stretch * BATCHES_SORTED)
    drawn = _stretch(count, seed, epoch, stretch, batches)
    lengths = {place: len(example.text) for place, example in zip(drawn, fetch(drawn), strict=True)}
    places = sorted(drawn, key=lengths.__getitem__)
    generator = torch.Generator().manual_seed(epoch * 7919 + stretch)
    turn = int(torch.randperm(batches, generator=generator)[within])
    return places[turn * TUNING_BATCH : (turn + 1) * TUNING_BATCH]


def places_drawn(count: int, seed: int, steps: int) -> list[int]:
    """The places of all examples that `draw_batch` fetches in so many steps, in order."""
    if steps >= count // TUNING_BATCH:
        return list(range(count))
    stretches = -(-steps // BATCHES_SORTED)
    return sorted(_order(count, seed, 0)[: stretches * BATCHES_SORTED * TUNING_BATCH].tolist())


def _stretch(count: int, seed: int, epoch: int, stretch: int, batches: int) -> list[int]:
    start = stretch * BATCHES_SORTED * TUNING_BATCH
    places: list[int] = _order(count, seed, epoch)[start : start + batches * TUNING_BATCH].tolist()
    return places


@lru_cache(maxsize=2)
def _order(count: int, seed: int, epoch: int) -> torch.Tensor:
    """The order of all examples in an epoch."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed * 1_000_003 + epoch))
