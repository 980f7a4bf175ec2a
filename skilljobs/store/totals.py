"""Adding up the shards of a run: always the same additions in the same order, whoever finished first."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from pyarrow import parquet as pq

from skilljobs.stats.layout import Layout
from skilljobs.store.files import Folder
from skilljobs.store.schema import sums_schema
from skilljobs.store.shards import moments_name, sums_name

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

    def of(self, population: str, metric: str) -> tuple[int, float, float]:
        """Of one metric: rows that have it, its sum and its sum of squares, about its reference."""
        row = self.index[population, metric, metric]
        return int(self.n[row]), float(self.sums[0, row]), float(self.sums[3, row])


def read_moments(folder: Folder, shards: Sequence[int]) -> Moments | None:
    """The moments of `shards`, added up; None of no shard."""
    return tree_sum(_moments_of(folder, shard) for shard in shards)


def _moments_of(folder: Folder, shard: int) -> Moments:
    with folder.open(moments_name(shard)) as file:
        table = pq.read_table(file)
    keys = zip(*(table[name].to_pylist() for name in ("population", "metric_a", "metric_b")), strict=True)
    values = [table[name].to_numpy() for name in ("sum_a", "sum_b", "sum_ab", "sum_aa", "sum_bb")]
    return Moments({key: row for row, key in enumerate(keys)}, table["n"].to_numpy(), np.stack(values))


@dataclass(frozen=True)
class LayerSums:
    """Sums of one layer. `values`: columns x populations x (tokens x neurons); `columns` says which column is where."""

    columns: dict[str, int]
    count: NDArray[np.int64]
    values: Array

    def __add__(self, other: "LayerSums", /) -> "LayerSums":
        return LayerSums(self.columns, self.count + other.count, self.values + other.values)

    def column(self, name: str, population: int) -> Array:
        return np.asarray(self.values[self.columns[name], population])


def read_layer(folder: Folder, shards: Sequence[int], layer: int, layout: Layout) -> LayerSums | None:
    """The sums of one layer over `shards`, added up; None of no shard."""
    return tree_sum(_layer_of(folder, shard, layer, layout) for shard in shards)


def _layer_of(folder: Folder, shard: int, layer: int, layout: Layout) -> LayerSums:
    names = [name for name in sums_schema(layout).names if name.startswith("sum_")]
    with folder.open(sums_name(shard)) as file:
        table = pq.ParquetFile(file).read_row_group(layer, columns=["n", *names])
    populations = len(layout.populations)
    values = np.stack([table[name].to_numpy().reshape(populations, -1) for name in names])
    count = table["n"].to_numpy().reshape(populations, -1)[:, 0].copy()
    return LayerSums({name: place for place, name in enumerate(names)}, count, values)
