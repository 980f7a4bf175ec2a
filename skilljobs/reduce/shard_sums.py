"""Reading and adding the sums of a run's shards, always with the same additions in the same order."""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet as pq

from skilljobs.stats.layout import Layout
from skilljobs.stats.totals import LayerSums, LayerTotals, Moments, tree_sum
from skilljobs.store.attempts import above_names, is_of_rank, moments_names, sums_and_moments, sums_names
from skilljobs.store.files import Folder
from skilljobs.store.references import read_layer_reference, rows_in_order
from skilljobs.store.schema import NEURON_KEY, sums_schema

Halves = tuple[tuple[int, ...], tuple[int, ...]]
"""The shards of half 0 and of half 1, ascending."""


def read_moments(folder: Folder, shards: Sequence[int]) -> Moments | None:
    """The moments of `shards`, added up; None if there are no shards."""
    names = moments_names(folder)
    return tree_sum(_moments(folder, names[shard][0]) for shard in shards)


def _moments(folder: Folder, name: str) -> Moments:
    with folder.open(name) as file:
        table = pq.read_table(file)
    keys = zip(*(table[name].to_pylist() for name in ("population", "metric_a", "metric_b")), strict=True)
    values = [table[name].to_numpy() for name in ("sum_a", "sum_b", "sum_ab", "sum_aa", "sum_bb")]
    return Moments({key: row for row, key in enumerate(keys)}, table["n"].to_numpy(), np.stack(values))


def read_layer(
    folder: Folder, shards: Sequence[int], layer: int, layout: Layout, metrics: Sequence[str] | None = None
) -> LayerSums | None:
    """The sums of one layer over `shards`, added up; None if there are no shards.

    Only what belongs to `metrics` is read, if they are given.
    """
    names = sums_names(folder)
    return tree_sum(_layer(folder, names[shard], layer, layout, metrics) for shard in shards)


def read_counts(folder: Folder, shards: Sequence[int], layer: int, layout: Layout) -> LayerSums | None:
    """The counts above thresholds of one layer over `shards`, added up; None if there are no shards."""
    names = above_names(folder)
    return tree_sum(_layer(folder, names[shard], layer, layout) for shard in shards)


def read_shard(folder: Folder, shard: int, layers: int, layout: Layout) -> tuple[Moments, Iterator[LayerSums]]:
    """The moments of one committed shard, and its sums, a layer at a time.

    Raises:
        FileNotFoundError: the shard is not committed.
    """
    sums, moments = sums_and_moments(folder, shard)
    return _moments(folder, moments), (_layer(folder, sums, layer, layout) for layer in range(layers))


def _layer(
    folder: Folder, file_names: Sequence[str], layer: int, layout: Layout, metrics: Sequence[str] | None = None
) -> LayerSums:
    """The sums of one layer of a shard, whose neurons may be spread over the files of several ranks."""
    names = [
        name
        for name in sums_schema(layout).names
        if name.startswith("sum_") and (metrics is None or ":" not in name or name.partition(":")[2] in metrics)
    ]
    over_all_only = {f"sum_ay:{metric.name}" for metric in layout.metrics if metric.kind == "null"}
    are_several = len(file_names) > 1 or any(is_of_rank(name) for name in file_names)
    parts, tables = [], []
    for file_name in file_names:
        with folder.open(file_name) as file:
            table = pq.ParquetFile(file).read_row_group(layer, columns=[*names, *(NEURON_KEY if are_several else ())])
        parts.append({name: _values(table[name], len(layout.populations), name in over_all_only) for name in names})
        tables.append(table)
    if not are_several:
        return LayerSums(parts[0])
    order = rows_in_order(folder, layer, tables, len(layout.populations))
    return LayerSums({name: np.concatenate([part[name] for part in parts], 1)[:, order] for name in names})


def _values(column: pa.ChunkedArray, populations: int, is_of_first: bool) -> NDArray[np.float64]:
    """A column as populations x rows, or those of the first population alone; not copied if it is in one piece."""
    chunk = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    rows = len(chunk) // populations
    if is_of_first:
        chunk, populations = chunk.slice(0, rows), 1
    values: NDArray[np.float64] = chunk.to_numpy(zero_copy_only=False).reshape(populations, rows)
    return values


def read_totals(
    folder: Folder,
    halves: Halves,
    layer: int,
    layout: Layout,
    metrics: Sequence[str] | None = None,
    moments: Sequence[Moments | None] | None = None,
) -> tuple[LayerTotals, list[LayerTotals | None]]:
    """The totals of a layer over all shards, and over those of each half (None for a half without any).

    They are those of `metrics` alone, if these are given. `moments` are those of the halves if they have been read.
    """
    reference = read_layer_reference(folder, layer).ravel()
    sums = [read_layer(folder, shards, layer, layout, metrics) for shards in halves]
    if moments is None:
        moments = [read_moments(folder, shards) for shards in halves]
    all_sums = tree_sum(half for half in sums if half is not None)
    all_moments = tree_sum(half for half in moments if half is not None)
    assert all_sums is not None
    assert all_moments is not None
    return LayerTotals(layout, all_sums, all_moments, reference), [
        None if s is None or m is None else LayerTotals(layout, s, m, reference)
        for s, m in zip(sums, moments, strict=True)
    ]
