"""Which examples a step of tuning is taken on."""

from collections.abc import Sequence

import torch

from skilljobs.lm.batch import TokenizedExample
from skilljobs.lm.results import TUNING_BATCH

BATCHES_SORTED = 8
"""The number of batches among which examples are sorted by length, to reduce padding."""


def draw_batch(train: Sequence[TokenizedExample], seed: int, step: int) -> list[int]:
    """Return the places of the batch of the step that follows `step` steps, sorted by the length of their texts.

    It is a pure function of seed and step, so that a resumed run draws the same.

    An epoch is a random order of the examples, cut into stretches of `BATCHES_SORTED` batches. Within a stretch,
    examples of similar length are batched together, and the batches come in random order.
    """
    per_epoch = max(1, len(train) // TUNING_BATCH)
    epoch, place = divmod(step, per_epoch)
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    order = torch.randperm(len(train), generator=generator).tolist()
    stretch, within = divmod(place, BATCHES_SORTED)
    start = stretch * BATCHES_SORTED * TUNING_BATCH
    batches = min(BATCHES_SORTED, per_epoch - stretch * BATCHES_SORTED)
    places = sorted(order[start : start + batches * TUNING_BATCH], key=lambda index: len(train[index].text))
    turn = int(torch.randperm(batches, generator=generator.manual_seed(epoch * 7919 + stretch))[within])
    return places[turn * TUNING_BATCH : (turn + 1) * TUNING_BATCH]
