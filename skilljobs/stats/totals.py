"""Sums of many shards as they are added up, and what correlations need of them. Plain arrays; no files."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from skilljobs.stats.correlate import INDISTINGUISHABLE, Centred
from skilljobs.stats.layout import Layout
from skilljobs.stats.partial import Given

Array = NDArray[np.float64]


class Additive(Protocol):
    def __add__(self, other: Self, /) -> Self: ...


T = TypeVar("T", bound=Additive)


def tree_sum(parts: Iterable[T]) -> T | None:
    """Sum in a fixed binary tree over the order of `parts`, holding log2 of their number at a time; None of none."""
    waiting: list[T | None] = []
    for part in parts:
        carried = part
        for level, earlier in enumerate(waiting):
            if earlier is None:
                waiting[level] = carried
                break
            carried = earlier + carried
            waiting[level] = None
        else:
            waiting.append(carried)
    total: T | None = None
    for earlier in waiting:
        if earlier is not None:
            total = earlier if total is None else earlier + total
    return total


@dataclass(frozen=True)
class Moments:
    """Sums of metrics alone, one row for each population and pair of metrics, in a fixed order."""

    index: dict[tuple[str, str, str], int]
    """Row of (population, metric, metric)."""
    n: NDArray[np.int64]
    sums: Array
    """5 x rows: sum_a, sum_b, sum_ab, sum_aa, sum_bb."""

    def __add__(self, other: "Moments", /) -> "Moments":
        return Moments(self.index, self.n + other.n, self.sums + other.sums)

    def pair(self, population: str, first: str, second: str) -> tuple[int, float, float, float]:
        """Rows that have both metrics, the sum of either over these, and the sum of their products."""
        row = self.index.get((population, first, second))
        swapped = row is None
        if row is None:
            row = self.index[population, second, first]
        sum_a, sum_b, sum_ab = (float(value) for value in self.sums[:3, row])
        return int(self.n[row]), sum_b if swapped else sum_a, sum_a if swapped else sum_b, sum_ab

    def degrees_of_freedom(self, layout: Layout, metric: str, population: str) -> int:
        """Of a correlation with `metric`: rows less one, less a mean for each group that has rows."""
        rows = [self.pair(member, metric, metric)[0] for member in layout.members_of(population)]
        return sum(rows) - 1 - sum(n > 0 for n in rows)


@dataclass(frozen=True)
class LayerSums:
    """Sums of one layer. `values`: columns x populations x (tokens x neurons); `columns` says which column is where."""

    columns: dict[str, int]
    values: Array

    def __add__(self, other: "LayerSums", /) -> "LayerSums":
        return LayerSums(self.columns, self.values + other.values)

    def column(self, name: str, population: int) -> Array:
        return np.asarray(self.values[self.columns[name], population])


@dataclass(frozen=True)
class LayerTotals:
    """All that is known of one layer over some shards. `reference`: of each neuron, token by token."""

    layout: Layout
    sums: LayerSums
    moments: Moments
    reference: Array

    def centred(self, metric: str, population: str) -> Centred:
        """Sums of `metric` about the means in `population`, pooled if that is within groups."""
        parts = [self._centred(metric, member) for member in self.layout.members_of(population)]
        return parts[0] if len(parts) == 1 else Centred.pooled(parts)

    def given(self, metric: str, given: Sequence[str], population: str) -> Given | None:
        """Centred sums of the metrics in `given`, over the rows that have `metric`; None without a row."""
        return tree_sum(
            part for member in self.layout.members_of(population) if (part := self._given(metric, given, member))
        )

    def _suffix(self, metric: str) -> str:
        return f":{metric}" if any(m.name == metric and m.nullable for m in self.layout.metrics) else ""

    def _centred(self, metric: str, population: str) -> Centred:
        k = self.layout.populations.index(population)
        n, sum_y, _, sum_yy = self.moments.pair(population, metric, metric)
        return Centred.of(
            n=n,
            sum_a=self.sums.column(f"sum_a{self._suffix(metric)}", k),
            sum_aa=self.sums.column(f"sum_aa{self._suffix(metric)}", k),
            sum_ay=self.sums.column(f"sum_ay:{metric}", k),
            sum_y=sum_y,
            sum_yy=sum_yy,
            reference=self.reference,
        )

    def _given(self, metric: str, given: Sequence[str], population: str) -> Given | None:
        k = self.layout.populations.index(population)
        n = self.moments.pair(population, metric, metric)[0]
        if n == 0:
            return None

        def product(first: str, second: str) -> float:
            _, sum_a, sum_b, sum_ab = self.moments.pair(population, first, second)
            return sum_ab - sum_a * (sum_b / n)

        def varies(name: str) -> bool:
            return product(name, name) > INDISTINGUISHABLE * self.moments.pair(population, name, name)[3]

        mean = self.sums.column(f"sum_a{self._suffix(metric)}", k) / n
        varying = np.array([varies(name) for name in given])
        return Given(
            square=np.array([[product(a, b) for b in given] for a in given]) * np.outer(varying, varying),
            metric=np.array([product(name, metric) for name in given]),
            activation=np.stack(
                [
                    self.sums.column(f"sum_ay:{name}", k) - mean * self.moments.pair(population, name, name)[1]
                    for name in given
                ]
            ),
        )
