"""Which numbers are correlated: the external metrics of a data set, and the populations its columns make."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from skilljobs.errors import InputError
from skilljobs.tasks.base import Example, MetricValue

_KINDS: dict[type, str] = {bool: "bools", int: "numbers", float: "numbers", str: "text"}
MOST_LEVELS = 50
"""A text column with more values than this is an identifier, not a category."""


@dataclass(frozen=True, slots=True)
class ExternalMetric:
    """A numeric or bool column, or one level of a category as a 0/1 metric `column=level`."""

    name: str
    column: str
    level: str | None
    nullable: bool

    def value(self, example: Example) -> float:
        """NaN where the example lacks it."""
        value = column_value(example, self.column)
        if value is None:
            return math.nan
        return float(value == self.level) if self.level is not None else float(value)


@dataclass(frozen=True, slots=True)
class Population:
    """The examples whose `column` reads `level`."""

    name: str
    column: str
    level: str

    def has(self, example: Example) -> bool:
        value = column_value(example, self.column)
        return value is not None and level_name(value) == self.level


def column_value(example: Example, column: str) -> MetricValue:
    """The value of an external column. As a metric, `choices` is how many there are: the column holds them."""
    if column == "choices":
        return None if example.choices is None else len(example.choices)
    return example.metrics.get(column)


def level_name(value: MetricValue) -> str:
    """How a value is written in the name of a metric or population."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def check_columns(examples: Iterable[Example]) -> None:
    """Refuse a column that is not of one kind: its values would not mean the same once stored.

    Raises:
        InputError: names the column and the kinds of value in it.
    """
    kinds: dict[str, set[str]] = defaultdict(set)
    for example in examples:
        for column, value in example.metrics.items():
            if value is not None:
                kinds[column].add(_KINDS[type(value)])
    for column, found in kinds.items():
        if len(found) > 1:
            raise InputError(f"the column {column!r} mixes {' and '.join(sorted(found))}; it must be one kind")


def metric_columns(examples: Iterable[Example]) -> list[str]:
    """The external columns of a data set, in order of first appearance."""
    return list(dict.fromkeys(column for example in examples for column in example.metrics))


def external_metrics(examples: Sequence[Example]) -> list[ExternalMetric]:
    """All external metrics of `examples`; text columns of too many values, and empty columns, make none."""
    found = []
    for column in metric_columns(examples):
        values = [column_value(example, column) for example in examples]
        present = [value for value in values if value is not None]
        nullable = len(present) < len(values)
        levels = sorted({value for value in present if isinstance(value, str)})
        if levels and len(levels) <= MOST_LEVELS:
            found += [ExternalMetric(f"{column}={level}", column, level, nullable) for level in levels]
        elif present and not levels:
            found.append(ExternalMetric(column, column, None, nullable))
    return found


def group_populations(examples: Sequence[Example], column: str) -> list[Population]:
    """The populations `column=value`, in order of their values.

    Raises:
        InputError: there is no such column, or it has more than `MOST_LEVELS` values.
    """
    columns = metric_columns(examples)
    if column not in columns:
        raise InputError(f"there is no column {column!r} to group by; there are {', '.join(columns) or 'none'}")
    values = {value for example in examples if (value := column_value(example, column)) is not None}
    if not 1 <= len(values) <= MOST_LEVELS:
        raise InputError(f"the column {column!r} has {len(values)} values; a group needs between 1 and {MOST_LEVELS}")
    return [Population(f"{column}={level}", column, level) for level in sorted(map(level_name, values))]
