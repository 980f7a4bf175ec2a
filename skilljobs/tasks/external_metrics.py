"""The external metrics of a data set and the populations that its columns define."""

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from skilljobs.errors import InputError
from skilljobs.tasks.base import ANSWER, PLACES, SINGLE_VALUES, Example, MetricValue, choice_names

_KIND_NAMES: dict[type, str] = {bool: "bools", int: "numbers", float: "numbers", str: "text"}
MOST_LEVELS = 50
"""A text column with more values than this is an identifier, not a category."""


@dataclass(frozen=True, slots=True)
class ExternalColumn:
    """A column of the examples, or the entry `key` of a column that holds several named values."""

    column: str
    key: str | None = None

    @property
    def name(self) -> str:
        """The name of the column in the stored examples."""
        return self.column if self.key is None else level_metric_name(self.column, self.key)

    def value(self, example: Example) -> MetricValue:
        """Return the example's value in this column, or None if it has none.

        The value of the column `choices` is the number of choices, and that of `answer` the name of the right one.
        """
        if self.column == ANSWER and self.key is None:
            return None if example.choices is None else choice_names(example.choices)[example.answer or 0]
        if self.column == "choices":
            return None if example.choices is None else len(example.choices)
        entry = example.metrics.get(self.column)
        if type(entry) in SINGLE_VALUES or not isinstance(entry, Mapping):
            return cast("MetricValue", entry) if self.key is None else None
        return None if self.key is None else entry.get(self.key)


@dataclass(frozen=True, slots=True)
class ExternalMetric:
    """A numeric or bool column, or a 0/1 metric for one level of a category.

    `level` is the level of the category, or the key of an entry in a column that holds several named values. It is
    None for a column that is a metric by itself.
    """

    source: ExternalColumn
    level: str | None
    nullable: bool

    @property
    def column(self) -> str:
        """The name of the column."""
        return self.source.column

    @property
    def name(self) -> str:
        """The name of the metric: that of the column, or `column=level`."""
        return self.column if self.level is None else level_metric_name(self.column, self.level)

    def value(self, example: Example) -> float:
        """Return the example's value of this metric, or NaN if it has none."""
        value = self.source.value(example)
        if value is None:
            return math.nan
        is_category = self.level is not None and self.source.key is None
        return float(value == self.level) if is_category else float(value)


@dataclass(frozen=True, slots=True)
class Population:
    """The examples whose value in a column is written `level`."""

    source: ExternalColumn
    level: str

    @property
    def name(self) -> str:
        """The name of the population, `column=level`."""
        return level_metric_name(self.source.name, self.level)

    def has(self, example: Example) -> bool:
        """Return whether `example` belongs to this population."""
        value = self.source.value(example)
        return value is not None and level_name(value) == self.level


def level_metric_name(column: str, level: str) -> str:
    """Return the name of the metric or population for one level of a column."""
    return f"{column}={level}"


def level_name(value: MetricValue) -> str:
    """Return `value` as it is written in the name of a metric or population."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _kind(value: MetricValue) -> str:
    return next(name for kind, name in _KIND_NAMES.items() if isinstance(value, kind))


def _kind_of_entry(entry: MetricValue | Mapping[str, MetricValue]) -> str:
    known = _KIND_NAMES.get(type(entry))
    if known is not None:
        return known
    return "named values" if isinstance(entry, Mapping) else _kind(entry)


def mixed_kinds(examples: Collection[Example]) -> dict[str, str]:
    """The examples whose value in a column is of another kind than most, by `example_id`, with the reason.

    A column with numbers in most rows and a text in one has one bad row.
    """
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for example in examples:
        for column, entry in example.metrics.items():
            if entry is not None:
                counts[column][_kind_of_entry(entry)] += 1
    reasons: dict[str, str] = {}
    for column, kinds in counts.items():
        usual = max(kinds, key=lambda kind: kinds[kind])
        for kind in kinds if len(kinds) > 1 else ():
            if kind != usual:
                reasons |= {
                    example.example_id: f"`{column}` is {entry!r}, and most rows have {usual} there"
                    for example in examples
                    if (entry := example.metrics.get(column)) is not None and _kind_of_entry(entry) == kind
                }
    return reasons


def check_columns(examples: Sequence[Example]) -> None:
    """Reject columns that mix kinds of values, because a stored column has one type, or that would have one name.

    Raises:
        InputError: a column mixes kinds of values, or two have one name; the message names them.
    """
    kinds: dict[str, set[str]] = defaultdict(set)
    for example in examples:
        for column, entry in example.metrics.items():
            if type(entry) in _KIND_NAMES:
                kinds[column].add(_KIND_NAMES[type(entry)])
                continue
            for value in entry.values() if isinstance(entry, Mapping) else (entry,):
                if value is not None:
                    kinds[column].add(_kind(value))
                if isinstance(value, str) and isinstance(entry, Mapping):
                    raise InputError(
                        f"the column {column!r} holds the text {value!r} among its named values; they must be numbers"
                    )
    stored: dict[str, ExternalColumn] = {}
    for source in external_columns(examples):
        if source.name in PLACES:
            raise InputError(f"the metric {source.name!r} has the name of a part of an example: rename it")
        first = stored.setdefault(source.name, source)
        if first is not source:
            raise InputError(
                f"the columns {first.column!r} and {source.column!r} both make a column {source.name!r}: rename one"
            )
    for column, names in kinds.items():
        if len(names) > 1:
            raise InputError(
                f"the column {column!r} mixes {' and '.join(sorted(names))}; all values must be of one kind"
            )


def external_columns(examples: Iterable[Example]) -> list[ExternalColumn]:
    """Return the external columns of a data set, in the order of their first appearance."""
    found: dict[tuple[str, str | None], None] = {}
    for example in examples:
        for column, entry in example.metrics.items():
            if type(entry) in SINGLE_VALUES or not isinstance(entry, Mapping):
                found[column, None] = None
            else:
                found.update(dict.fromkeys((column, key) for key in entry))
    return [ExternalColumn(column, key) for column, key in found]


def external_metrics(examples: Sequence[Example]) -> list[ExternalMetric]:
    """Return all external metrics of `examples`.

    Text columns with one value or more than `MOST_LEVELS`, and empty columns, have no metric.

    Raises:
        InputError: two metrics would have the same name.
    """
    metrics: list[ExternalMetric] = []
    for source in external_columns(examples):
        values = [source.value(example) for example in examples]
        present = [value for value in values if value is not None]
        nullable = len(present) < len(values)
        levels = sorted({value for value in present if isinstance(value, str)})
        if 1 < len(levels) <= MOST_LEVELS:
            metrics += [ExternalMetric(source, level, nullable) for level in levels]
        elif present and not levels:
            metrics.append(ExternalMetric(source, source.key, nullable))
    seen: dict[str, ExternalMetric] = {}
    for metric in metrics:
        first = seen.setdefault(metric.name, metric)
        if first is not metric:
            raise InputError(
                f"the columns {first.column!r} and {metric.column!r} both make a metric {metric.name!r}: rename one"
            )
    return metrics


def group_populations(examples: Sequence[Example], column: str) -> list[Population]:
    """Return the populations `column=value`, sorted by value.

    Raises:
        InputError: there is no such column, or it has more than `MOST_LEVELS` values.
    """
    columns = {source.name: source for source in external_columns(examples)}
    source = columns.get(column)
    if source is None:
        raise InputError(f"there is no column {column!r} to group by; the columns are {', '.join(columns) or 'none'}")
    values = {value for example in examples if (value := source.value(example)) is not None}
    if not 1 <= len(values) <= MOST_LEVELS:
        raise InputError(
            f"the column {column!r} has {len(values)} values; a group column needs between 1 and {MOST_LEVELS}"
        )
    return [Population(source, level) for level in sorted(map(level_name, values))]
