"""A shard before the model reads it: all that is known without the model, prepared while it reads another shard."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skilljobs.lm.batch import TokenizedExample, plan_batches
from skilljobs.plan.work import RunWork
from skilljobs.stats.null import null_draws, null_signs
from skilljobs.tasks.base import Example


@dataclass(frozen=True)
class PreparedShard:
    """`batches`: the indices of each batch's examples. `values`: examples x metrics of the layout, float64, NaN where
    an example has no value and for the model-derived metrics. `members`: examples x populations, bool."""

    tokenized: Sequence[TokenizedExample]
    batches: list[list[int]]
    values: NDArray[np.float64]
    members: NDArray[np.bool_]

    @property
    def tokens(self) -> int:
        """Tokens of text and continuations that the model reads, without prompt and padding."""
        return sum(example.size for example in self.tokenized)


def prepare_shard(
    examples: Sequence[Example],
    tokenized: Sequence[TokenizedExample],
    work: RunWork,
    prompt_length: int,
) -> PreparedShard:
    """Plan the batches of a shard and look up the values and populations of its examples."""
    return PreparedShard(
        tokenized,
        plan_batches(tokenized, prompt_length, work.batch_tokens, work.batch_cost),
        _known_values(examples, work),
        np.array(
            [[True, *(population.has(example) for population in work.reading.populations)] for example in examples]
        ),
    )


def _known_values(examples: Sequence[Example], work: RunWork) -> NDArray[np.float64]:
    external = {metric.name: metric for metric in work.reading.external}
    null_values = iter(_null_values([example.unit for example in examples], work))
    values = np.full((len(examples), len(work.reading.layout.metrics)), np.nan)
    for column, metric in enumerate(work.reading.layout.metrics):
        if metric.kind == "null":
            values[:, column] = next(null_values)
        elif metric.kind == "external":
            values[:, column] = [external[metric.name].value(example) for example in examples]
    return values


def _null_values(units: Sequence[str], work: RunWork) -> NDArray[np.float64]:
    """The null metrics of the layout, in its order: metrics x examples."""
    count, skewed_values = work.spec.null, work.reading.null_values
    families = [null_signs(units, count)]
    if skewed_values is not None:
        families.append(null_draws(units, count, skewed_values))
    return np.concatenate(families, axis=1).T
