"""The right answer as an external metric, where the choices are the same in all examples.

A model that gives nearly every example the same answer has a confidence that is little more than the right answer.
That shows only if the right answer is a metric like any other.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from skilljobs.errors import InputError
from skilljobs.tasks.base import ANSWER, Example, choice_names
from skilljobs.tasks.external_columns import ExternalColumn, blocks_of
from skilljobs.tasks.external_metrics import MOST_LEVELS, ExternalMetric


def shared_choices(examples: Iterable[Example]) -> list[str] | None:
    """Return the names of the choices, sorted, if they are the same in all examples, in any order; otherwise None."""
    first: Sequence[str] | None = None
    for block in blocks_of(examples):
        for choices in block.choices:
            if choices is None:
                return None
            if first is None:
                first = choices
            if set(choices) != set(first):
                return None
    return None if first is None else sorted(choice_names(first))


def answer_metrics(examples: Iterable[Example], others: Sequence[ExternalMetric]) -> list[ExternalMetric]:
    """Return a 0/1 metric `answer=NAME` for each right answer, if the choices are the same in all examples.

    There are none if the right answer never varies, or has more than `MOST_LEVELS` values, or if `others` already tell
    each of them: a metric that is equal to it in all examples, or its opposite.

    Raises:
        InputError: a metric in `others` has the name of one of them.
    """
    if shared_choices(examples) is None:
        return []
    source = ExternalColumn(ANSWER)
    levels = sorted({str(answer) for block in blocks_of(examples) for answer in block.values(source)})
    metrics = [ExternalMetric(source, level, nullable=False) for level in levels]
    if not 1 < len(levels) <= MOST_LEVELS or _told(metrics, others, examples) == set(metrics):
        return []
    taken = {metric.name for metric in others}
    for metric in metrics:
        if metric.name in taken:
            raise InputError(f"the column {metric.name!r} has the name of the metric of a right answer: rename it")
    return metrics


def _told(
    metrics: Sequence[ExternalMetric], others: Sequence[ExternalMetric], examples: Iterable[Example]
) -> set[ExternalMetric]:
    """Those of `metrics` that one of `others` is equal to in all examples, or opposite to in all."""
    pairs = {(metric, other, opposite) for metric in metrics for other in others for opposite in (False, True)}
    for block in blocks_of(examples):
        if not pairs:
            break
        values = {metric: metric.values(block) for pair in pairs for metric in pair[:2]}
        pairs = {
            (metric, other, opposite)
            for metric, other, opposite in pairs
            if np.array_equal(values[other], 1 - values[metric] if opposite else values[metric])
        }
    return {metric for metric, _, _ in pairs}
