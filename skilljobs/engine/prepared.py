"""A shard before the model reads it: all that is known without the model, worked out while that reads another."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skilljobs.engine.job import ScorerJob
from skilljobs.lm.batch import TokenizedExample, plan_batches
from skilljobs.stats.null import null_draws, null_signs
from skilljobs.tasks.base import Example


@dataclass(frozen=True)
class PreparedShard:
    """`batches`: the places of each batch's examples. `values`: examples x metrics of the layout, float64, NaN where an
    example lacks one and in the model-derived ones. `members`: examples x populations, bool."""

    tokenized: Sequence[TokenizedExample]
    batches: list[list[int]]
    values: NDArray[np.float64]
    members: NDArray[np.bool_]

    @property
    def tokens(self) -> int:
        """Tokens of text and continuations that the model reads, without prompt and padding."""
        return sum(example.size for example in self.tokenized)


def prepare(
    examples: Sequence[Example], tokenized: Sequence[TokenizedExample], job: ScorerJob, prompt_length: int
) -> PreparedShard:
    return PreparedShard(
        tokenized,
        plan_batches(tokenized, prompt_length, job.numerics.batch_tokens),
        _known_values(examples, job),
        np.array([[True, *(found.has(example) for found in job.reading.populations)] for example in examples]),
    )


def _known_values(examples: Sequence[Example], job: ScorerJob) -> NDArray[np.float64]:
    external = {metric.name: metric for metric in job.reading.external}
    nulls = iter(_nulls([example.unit for example in examples], job))
    values = np.full((len(examples), len(job.reading.layout.metrics)), np.nan)
    for column, metric in enumerate(job.reading.layout.metrics):
        if metric.kind == "null":
            values[:, column] = next(nulls)
        elif metric.kind == "external":
            values[:, column] = [external[metric.name].value(example) for example in examples]
    return values


def _nulls(units: Sequence[str], job: ScorerJob) -> NDArray[np.float64]:
    """The null metrics of the layout, in its order: metrics x examples."""
    count, values = job.spec.null, job.reading.null_values
    families = [null_signs(units, count)] + ([] if values is None else [null_draws(units, count, values)])
    return np.concatenate(families, axis=1).T
