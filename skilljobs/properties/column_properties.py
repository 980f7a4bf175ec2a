"""The columns of the data as properties."""

import math
from collections.abc import Sequence
from functools import partial

from skilljobs.properties.property import Property
from skilljobs.tasks.base import Example
from skilljobs.tasks.external_metrics import ExternalMetric, external_metrics


def column_properties(examples: Sequence[Example]) -> list[Property]:
    """A property for each external metric of `examples`, under its name."""
    return [
        Property(metric.name, "yes/no" if _is_yes_no(metric, examples) else "number", partial(_value, metric))
        for metric in external_metrics(examples)
    ]


def _value(metric: ExternalMetric, example: Example) -> float | None:
    value = metric.value(example)
    return None if math.isnan(value) else value


def _is_yes_no(metric: ExternalMetric, examples: Sequence[Example]) -> bool:
    return {metric.value(example) for example in examples if not math.isnan(metric.value(example))} <= {0.0, 1.0}
