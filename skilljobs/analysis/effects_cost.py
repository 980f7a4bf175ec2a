"""What estimating effects will cost, from what the run itself took."""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from skilljobs.plan.effects_spec import NULL_DRAWS
from skilljobs.store.position_means import MEANS_NAME
from skilljobs.store.reader import RunReader

BACKWARD = 1.0
"""What a backward pass costs, in forward passes over the same tokens: the weights are frozen and need no gradient."""


@dataclass(frozen=True)
class EffectsCost:
    """Neurons, examples of both halves, tokens that the model reads, bytes and seconds."""

    neurons: int
    examples: int
    tokens: int
    bytes: int
    seconds: float


def effects_cost(readers: Sequence[RunReader]) -> EffectsCost:
    """The cost of estimating effects on the runs of each soft prompt.

    The texts are read once, and prompt and answers forwards and backwards; before that, half 0 is read once more for
    the means, unless they are there. Seconds are those of the scorers' work at the speed, and with the number of
    scorers, at which the shards of the run were collected.
    """
    examples = size = neurons = 0
    tokens = seconds = 0.0
    for reader in readers:
        record = reader.record
        scores = reader.scores().select(
            pl.len(), pl.col("text_tokens").sum(), (pl.col("half") == 0).sum().alias("first")
        )
        count, text, first = scores.collect().row(0)
        total = record.tokens or 0
        behind = total - text
        forward = total + (0 if reader.folder.exists(MEANS_NAME) else total * first / max(1, count))
        neurons = sum(layer.count for layer in record.neurons)
        groups = 1 + sum(len(names) for names in record.groups.values())
        sums = 3 * groups * len(record.shards) + NULL_DRAWS * len(record.halves[1])
        size += 8 * neurons * (sums + 10 * groups)
        examples += count
        tokens += forward
        seconds += (forward + BACKWARD * behind) * record.stages["collect"].seconds / max(1, total)
    return EffectsCost(neurons, examples, round(tokens), size, seconds)
