"""What a run's sums are sums of: its metrics and its populations."""

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
    """An auxiliary metric. A `nullable` one has sums of its own, over the rows that have it."""

    name: str
    kind: MetricKind
    nullable: bool


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

    @property
    def reported_populations(self) -> list[str]:
        """The populations that correlations are reported for."""
        return [*self.populations, *(WITHIN + column for column in self.groups)]

    def members_of(self, reported: str) -> Sequence[str]:
        """The summed populations that `reported` is pooled from."""
        return self.groups[reported.removeprefix(WITHIN)] if reported.startswith(WITHIN) else (reported,)

    def bytes_per_neuron(self) -> int:
        """Bytes of sums a neuron and token takes in a shard, before compression."""
        key = 2 + 2 + 4 + 8
        values = 2 + len(self.metrics) + 2 * len(self.nullable)
        return len(self.populations) * (key + 8 * values)
