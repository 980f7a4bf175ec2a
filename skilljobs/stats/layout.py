"""The metrics and populations that a run's sums are taken over."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

ALL = "all"
WITHIN = "within:"
NULL = "null:"
NULL_SKEWED = "null:skewed:"

MetricKind = Literal["external", "model", "null"]


@dataclass(frozen=True, slots=True)
class Metric:
    """An auxiliary metric.

    A nullable metric has sums of its own, over the rows that have a value. An external metric comes from `column`; if
    it is one of several that the column makes, `level` says which (`operation`, `addition`).
    """

    name: str
    kind: MetricKind
    nullable: bool
    column: str | None = None
    level: str | None = None


@dataclass(frozen=True)
class Layout:
    """The metrics and populations of a run, in the order of every array over them.

    `populations` holds those that are summed: `all` first, then one for each value of each grouping column.
    `groups` maps each grouping column to its populations; `within:COLUMN` is pooled from them.
    Null metrics are summed over `all` only.
    """

    metrics: tuple[Metric, ...]
    populations: tuple[str, ...]
    groups: dict[str, tuple[str, ...]]

    @cached_property
    def nullable(self) -> tuple[int, ...]:
        """Places of the nullable metrics."""
        return tuple(place for place, metric in enumerate(self.metrics) if metric.nullable)

    def metrics_of(self, population: str) -> list[int]:
        """Places of the metrics that are summed over `population`."""
        return [place for place, metric in enumerate(self.metrics) if population == ALL or metric.kind != "null"]

    def metrics_from(self, column: str) -> list[Metric]:
        """The metrics that an external column makes: the column itself, or one for each of its levels."""
        return [metric for metric in self.metrics if metric.column == column]

    @property
    def metrics_by_column(self) -> dict[str, list[Metric]]:
        """The metrics of each column that makes one for each of its levels."""
        columns: dict[str, list[Metric]] = {}
        for metric in self.metrics:
            if metric.column is not None and metric.level is not None:
                columns.setdefault(metric.column, []).append(metric)
        return columns

    @property
    def reported_populations(self) -> list[str]:
        """The populations that correlations are reported for."""
        return [*self.populations, *(WITHIN + column for column in self.groups)]

    def members_of(self, reported: str) -> Sequence[str]:
        """The summed populations that `reported` is pooled from."""
        return self.groups[reported.removeprefix(WITHIN)] if reported.startswith(WITHIN) else (reported,)

    def bytes_per_neuron(self) -> int:
        """Bytes that the sums of one neuron and token take in a shard, before compression."""
        key = 2 + 2 + 4 + 8
        values = 2 + len(self.metrics) + 2 * len(self.nullable)
        return len(self.populations) * (key + 8 * values)
