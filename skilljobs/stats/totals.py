"""Adding up the sums of many shards and preparing them for correlations. This module uses plain arrays, no files."""

import operator
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from skilljobs.stats.centred import INDISTINGUISHABLE, Activations, Centred
from skilljobs.stats.layout import Layout
from skilljobs.stats.partial import Given

Array = NDArray[np.float64]


class Additive(Protocol):
    def __add__(self, other: Self, /) -> Self: ...


T = TypeVar("T", bound=Additive)


def tree_sum(parts: Iterable[T]) -> T | None:
    """Return the sum of `parts`, added in a fixed binary tree over their order, or None if there are none.

    At most about log2 of their number of partial sums are held at a time. They are added to in place if they have
    `__iadd__`; the parts never are.
    """
    partial_sums: list[T | None] = []
    for part in parts:
        carried = part
        for level, earlier in enumerate(partial_sums):
            if earlier is None:
                partial_sums[level] = carried
                break
            carried = _added(earlier, carried, level)
            partial_sums[level] = None
        else:
            partial_sums.append(carried)
    total: T | None = None
    for level, earlier in enumerate(partial_sums):
        if earlier is not None:
            total = earlier if total is None else _added(earlier, total, level)
    return total


def _added(earlier: T, later: T, level: int) -> T:
    """Their sum; what is at level 0 is a part."""
    return earlier + later if level == 0 else operator.iadd(earlier, later)


@dataclass(frozen=True)
class Moments:
    """Sums of metrics without neurons, one row for each population and pair of metrics, in a fixed order."""

    index: dict[tuple[str, str, str], int]
    """The row of each (population, first metric, second metric)."""
    n: NDArray[np.int64]
    sums: Array
    """The sums sum_a, sum_b, sum_ab, sum_aa and sum_bb of each row, as 5 x rows."""

    def __add__(self, other: "Moments", /) -> "Moments":
        """Add the rows that both have: a shard of an older run lacks those that are kept since."""
        if self.index == other.index:
            return Moments(self.index, self.n + other.n, self.sums + other.sums)
        common = [key for key in self.index if key in other.index]
        mine, others = ([side.index[key] for key in common] for side in (self, other))
        index = {key: row for row, key in enumerate(common)}
        return Moments(index, self.n[mine] + other.n[others], self.sums[:, mine] + other.sums[:, others])

    def pair(self, population: str, first: str, second: str) -> tuple[int, float, float, float]:
        """Return how many examples have both metrics and, over these, the sum of each and of their products."""
        row = self.index.get((population, first, second))
        swapped = row is None
        if row is None:
            row = self.index[population, second, first]
        sum_a, sum_b, sum_ab = (float(value) for value in self.sums[:3, row])
        return int(self.n[row]), sum_b if swapped else sum_a, sum_a if swapped else sum_b, sum_ab

    def r(self, population: str, first: str, second: str) -> float | None:
        """Return the correlation of two metrics over the examples that have both; None if it is undefined."""
        row = self.index.get((population, first, second), self.index.get((population, second, first)))
        n = 0 if row is None else int(self.n[row])
        if row is None or n < 2:
            return None
        sum_a, sum_b, sum_ab, sum_aa, sum_bb = (float(value) for value in self.sums[:, row])
        squares = [raw - total * (total / n) for raw, total in ((sum_aa, sum_a), (sum_bb, sum_b))]
        if any(c <= INDISTINGUISHABLE * raw for c, raw in zip(squares, (sum_aa, sum_bb), strict=True)):
            return None
        return float(np.clip((sum_ab - sum_a * (sum_b / n)) / np.sqrt(squares[0] * squares[1]), -1.0, 1.0))

    def yes_no_counts(self, layout: Layout, metric: str, population: str) -> list[tuple[int, int]]:
        """Return in how many examples of each group a yes/no metric is yes, and how many have it; [] for another one.

        The metric must have the reference 0, as yes/no metrics do. It is one if its sum is a whole number and that of
        its squares in each group.
        """
        counts = []
        for member in layout.members_of(population):
            row = self.index[member, metric, metric]
            total, square, n = float(self.sums[0, row]), float(self.sums[3, row]), int(self.n[row])
            if total != square or total != int(total) or not 0 <= total <= n:
                return []
            counts.append((int(total), n))
        return counts

    def degrees_of_freedom(self, layout: Layout, metric: str, population: str) -> int:
        """Return the degrees of freedom of a correlation with `metric`.

        They are the number of examples minus one, minus one mean for each group that has examples.
        """
        rows = [self.pair(member, metric, metric)[0] for member in layout.members_of(population)]
        return sum(rows) - 1 - sum(n > 0 for n in rows)


@dataclass(frozen=True)
class LayerSums:
    """Sums of one layer: of each column, populations x (tokens x neurons).

    Columns are arrays of their own, so that one fits a processor's cache. A null metric has the population `all` only.
    """

    columns: dict[str, Array]

    def __add__(self, other: "LayerSums", /) -> "LayerSums":
        """Their sum, in one piece of memory: the system provides many small pieces slowly."""
        block = np.empty(sum(mine.size for mine in self.columns.values()))
        total, start = dict[str, Array](), 0
        for name, mine in self.columns.items():
            out = block[start : start + mine.size].reshape(mine.shape)
            total[name] = np.add(mine, other.columns[name], out=out)
            start += mine.size
        return LayerSums(total)

    def __iadd__(self, other: "LayerSums", /) -> Self:
        for name, mine in self.columns.items():
            mine += other.columns[name]
        return self

    def column(self, name: str, population: int) -> Array:
        """Return the sums in a column for the population at an index, token by token."""
        return np.asarray(self.columns[name][population])

    @property
    def rows(self) -> int:
        """The number of neurons, every token of each counted."""
        return int(next(iter(self.columns.values())).shape[-1])


@dataclass(frozen=True)
class LayerTotals:
    """The sums of one layer over some shards. `reference` is that of each neuron, token by token."""

    layout: Layout
    sums: LayerSums
    moments: Moments
    reference: Array

    def centred(self, metric: str, population: str) -> Centred:
        """Return the sums of `metric` about the means in `population`, pooled over groups if it is within groups."""
        return next(self.centred_each([metric], population))

    def centred_each(self, metrics: Iterable[str], population: str) -> Iterator[Centred]:
        """Yield what `centred` returns of each metric. What they share of the activations is computed once."""
        shared: dict[str, tuple[Centred, Array]] = {}
        groups, within = list[Activations](), None
        for metric in metrics:
            parts = [self._centred(metric, member, shared) for member in self.layout.members_of(population)]
            if len(parts) == 1:
                yield parts[0]
                continue
            before, groups = groups, [part.activations for part in parts]
            are_same = len(before) == len(groups) and all(map(operator.is_, before, groups))
            pooled = Centred.pooled(parts, within if are_same else None)
            within = pooled.activations
            yield pooled

    def given(self, metric: str, given: Sequence[str], population: str) -> Given | None:
        """Return the centred sums of the metrics in `given` over the rows that have `metric`, or None without rows."""
        return tree_sum(
            part for member in self.layout.members_of(population) if (part := self._given(metric, given, member))
        )

    def _suffix(self, metric: str) -> str:
        return f":{metric}" if any(m.name == metric and m.nullable for m in self.layout.metrics) else ""

    def _centred(self, metric: str, population: str, shared: dict[str, tuple[Centred, Array]]) -> Centred:
        """The sums about the means.

        `shared` has those of another metric without missing values, and the means of activations about their reference,
        by population.
        """
        k, suffix = self.layout.populations.index(population), self._suffix(metric)
        n, sum_y, _, sum_yy = self.moments.pair(population, metric, metric)
        sum_ay = self.sums.column(f"sum_ay:{metric}", k)
        sum_a = self.sums.column(f"sum_a{suffix}", k)
        if not suffix and population in shared:
            earlier, mean = shared[population]
            if earlier.n == n:
                return earlier.of_metric(mean, sum_ay, sum_y, sum_yy)
        sum_aa = self.sums.column(f"sum_aa{suffix}", k)
        centred = Centred.of(n, sum_a, sum_aa, sum_ay, sum_y, sum_yy, self.reference)
        if not suffix:
            shared[population] = centred, sum_a / max(1, n)
        return centred

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
