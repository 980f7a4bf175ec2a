"""Reading and adding the sums of a run's shards, always with the same additions in the same order."""

from collections.abc import Sequence

import numpy as np
from pyarrow import parquet as pq

from skilljobs.stats.layout import Layout
from skilljobs.stats.totals import LayerSums, LayerTotals, Moments, tree_sum
from skilljobs.store.files import Folder
from skilljobs.store.references import read_layer_reference
from skilljobs.store.schema import sums_schema
from skilljobs.store.shards import moments_name, sums_name

Halves = tuple[tuple[int, ...], tuple[int, ...]]
"""The shards of half 0 and of half 1, ascending."""


def read_moments(folder: Folder, shards: Sequence[int]) -> Moments | None:
    """The moments of `shards`, added up; None if there are no shards."""
    return tree_sum(_shard_moments(folder, shard) for shard in shards)


def _shard_moments(folder: Folder, shard: int) -> Moments:
    with folder.open(moments_name(shard)) as file:
        table = pq.read_table(file)
    keys = zip(*(table[name].to_pylist() for name in ("population", "metric_a", "metric_b")), strict=True)
    values = [table[name].to_numpy() for name in ("sum_a", "sum_b", "sum_ab", "sum_aa", "sum_bb")]
    return Moments({key: row for row, key in enumerate(keys)}, table["n"].to_numpy(), np.stack(values))


def read_layer(folder: Folder, shards: Sequence[int], layer: int, layout: Layout) -> LayerSums | None:
    """The sums of one layer over `shards`, added up; None if there are no shards."""
    return tree_sum(_shard_layer(folder, shard, layer, layout) for shard in shards)


def _shard_layer(folder: Folder, shard: int, layer: int, layout: Layout) -> LayerSums:
    names = [name for name in sums_schema(layout).names if name.startswith("sum_")]
    with folder.open(sums_name(shard)) as file:
        table = pq.ParquetFile(file).read_row_group(layer, columns=names)
    populations = len(layout.populations)
    values = np.stack([table[name].to_numpy().reshape(populations, -1) for name in names])
    return LayerSums({name: place for place, name in enumerate(names)}, values)


def read_totals(
    folder: Folder, halves: Halves, layer: int, layout: Layout
) -> tuple[LayerTotals, list[LayerTotals | None]]:
    """The totals of a layer over all shards, and over those of each half (None for a half without any)."""
    reference = read_layer_reference(folder, layer).ravel()
    sums = [read_layer(folder, shards, layer, layout) for shards in halves]
    moments = [read_moments(folder, shards) for shards in halves]
    all_sums = tree_sum(half for half in sums if half is not None)
    all_moments = tree_sum(half for half in moments if half is not None)
    assert all_sums is not None
    assert all_moments is not None
    return LayerTotals(layout, all_sums, all_moments, reference), [
        None if s is None or m is None else LayerTotals(layout, s, m, reference)
        for s, m in zip(sums, moments, strict=True)
    ]
