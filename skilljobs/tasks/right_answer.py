"""The right answer as an external metric, where the choices are the same in all examples.

A model that gives nearly every example the same answer has a confidence that is little more than the right answer.
That shows only if the right answer is a metric like any other.
"""

from collections.abc import Sequence

from skilljobs.errors import InputError
from skilljobs.tasks.base import ANSWER, Example, choice_names
from skilljobs.tasks.external_metrics import MOST_LEVELS, ExternalColumn, ExternalMetric


def shared_choices(examples: Sequence[Example]) -> list[str] | None:
    """Return the names of the choices, sorted, if they are the same in all examples, in any order; otherwise None."""
    if not examples or examples[0].choices is None:
        return None
    first = set(examples[0].choices)
    if any(example.choices is None or set(example.choices) != first for example in examples):
        return None
    return sorted(choice_names(examples[0].choices))


def answer_metrics(examples: Sequence[Example], others: Sequence[ExternalMetric]) -> list[ExternalMetric]:
    """Return a 0/1 metric `answer=NAME` for each right answer, if the choices are the same in all examples.

    There are none if the right answer never varies, or has more than `MOST_LEVELS` values, or if `others` already tell
    each of them: a metric that is equal to it in all examples, or its opposite.

    Raises:
        InputError: a metric in `others` has the name of one of them.
    """
    if shared_choices(examples) is None:
        return []
    source = ExternalColumn(ANSWER)
    answers = [source.value(example) for example in examples]
    levels = sorted({str(answer) for answer in answers})
    metrics = [ExternalMetric(source, level, nullable=False) for level in levels]
    if not 1 < len(levels) <= MOST_LEVELS or all(_is_told(metric, others, examples) for metric in metrics):
        return []
    taken = {metric.name for metric in others}
    for metric in metrics:
        if metric.name in taken:
            raise InputError(f"the column {metric.name!r} has the name of the metric of a right answer: rename it")
    return metrics


def _is_told(metric: ExternalMetric, others: Sequence[ExternalMetric], examples: Sequence[Example]) -> bool:
    return any(
        all(other.value(example) == metric.value(example) for example in examples)
        or all(other.value(example) == 1 - metric.value(example) for example in examples)
        for other in others
    )
