"""The external metrics of a data set and the populations that its columns define."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from skilljobs.errors import InputError
from skilljobs.spill.buckets import HashCounter
from skilljobs.spill.temporary_file import TemporaryFile
from skilljobs.tasks.base import Example, MetricValue
from skilljobs.tasks.external_columns import Block, ExternalColumn, blocks_of, external_columns, level_metric_name

MOST_LEVELS = 50
"""A text column with more values than this is an identifier, not a category."""
MOST_COUNTED = 10_000
"""Values of a group column, which are held."""


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
        return float(value == self.level) if self._is_category else float(value)

    def values(self, block: Block) -> NDArray[np.float64]:
        """Return the value of each example of a block, or NaN where it has none."""
        values = block.values(self.source)
        if self._is_category:
            return np.array([math.nan if value is None else float(value == self.level) for value in values])
        return np.array([math.nan if value is None else float(value) for value in values])

    @property
    def _is_category(self) -> bool:
        return self.level is not None and self.source.key is None


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


def level_name(value: MetricValue) -> str:
    """Return `value` as it is written in the name of a metric or population."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


@dataclass
class ColumnSummary:
    """What is in an external column: how many examples have a value there, and which texts."""

    file: TemporaryFile
    """For what does not fit in memory; several summaries may share it."""
    rows: int = 0
    present: int = 0
    levels: set[str] = field(default_factory=set)
    """The texts, as long as there are not more than `MOST_LEVELS`."""
    _hashes: HashCounter | None = None

    def add(self, values: Sequence[MetricValue]) -> None:
        """Add the values of a block."""
        self.rows += len(values)
        self.present += len(values) - values.count(None)
        if not any(issubclass(kind, str) for kind in set(map(type, values))):
            return
        texts = {value for value in values if isinstance(value, str)}
        if self._hashes is None:
            self.levels |= texts
            if len(self.levels) <= MOST_LEVELS:
                return
            texts, self.levels, self._hashes = self.levels, set(), HashCounter(self.file)
        self._hashes.add(np.fromiter(map(hash, texts), np.int64, len(texts)).view(np.uint64))

    @property
    def texts(self) -> int:
        """How many different texts there are. More than `MOST_LEVELS` are counted by a 64-bit hash of each."""
        return len(self.levels) if self._hashes is None else self._hashes.different


def summarise(examples: Iterable[Example], sources: Iterable[ExternalColumn]) -> dict[ExternalColumn, ColumnSummary]:
    """Summarise external columns, in one pass over the examples."""
    file = TemporaryFile()
    found = {source: ColumnSummary(file) for source in sources}
    for block in blocks_of(examples) if found else ():
        for source, summary in found.items():
            summary.add(block.values(source))
    return found


def external_metrics(examples: Iterable[Example]) -> list[ExternalMetric]:
    """Return all external metrics of `examples`.

    Text columns with one value or more than `MOST_LEVELS`, and empty columns, have no metric.

    Raises:
        InputError: two metrics would have the same name.
    """
    metrics: list[ExternalMetric] = []
    for source, summary in summarise(examples, external_columns(examples)).items():
        nullable = summary.present < summary.rows
        texts = summary.texts
        if 1 < texts <= MOST_LEVELS:
            metrics += [ExternalMetric(source, level, nullable) for level in sorted(summary.levels)]
        elif summary.present and not texts:
            metrics.append(ExternalMetric(source, source.key, nullable))
    seen: dict[str, ExternalMetric] = {}
    for metric in metrics:
        first = seen.setdefault(metric.name, metric)
        if first is not metric:
            raise InputError(
                f"the columns {first.column!r} and {metric.column!r} both make a metric {metric.name!r}: rename one"
            )
    return metrics


def group_populations(examples: Iterable[Example], column: str) -> list[Population]:
    """Return the populations `column=value`, sorted by value.

    Raises:
        InputError: there is no such column, or it has more than `MOST_LEVELS` values.
    """
    columns = {source.name: source for source in external_columns(examples)}
    source = columns.get(column)
    if source is None:
        raise InputError(f"there is no column {column!r} to group by; the columns are {', '.join(columns) or 'none'}")
    values: set[MetricValue] = set()
    for block in blocks_of(examples):
        values |= {value for value in block.values(source) if value is not None}
        if len(values) > MOST_COUNTED:
            break
    if not 1 <= len(values) <= MOST_LEVELS:
        count = f"more than {MOST_COUNTED:,}" if len(values) > MOST_COUNTED else len(values)
        raise InputError(f"the column {column!r} has {count} values; a group column needs between 1 and {MOST_LEVELS}")
    return [Population(source, level) for level in sorted(map(level_name, values))]
