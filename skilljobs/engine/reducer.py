"""From committed shards to correlations: one layer at a time, then one pass over all layers for q and the top.

Imports no Ray: the pipeline runs `reduce_layer` as a task for each layer, and `rank` once.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet as pq

from skilljobs.stats.correlate import Centred, false_discovery_rate, interval, p_value
from skilljobs.stats.layout import Layout
from skilljobs.store.files import Folder
from skilljobs.store.reference import read_references
from skilljobs.store.run import TOP_NAME, correlations_name
from skilljobs.store.schema import CORRELATIONS, parquet_bytes, parquet_stream
from skilljobs.store.totals import LayerSums, Moments, read_layer, read_moments, tree_sum

Array = NDArray[np.float64]

TOP = 1000


@dataclass(frozen=True)
class ReduceJob:
    """What a reducer needs to know."""

    uri: str
    layout: Layout
    halves: tuple[tuple[int, ...], tuple[int, ...]]
    """The shards of half 0 and of half 1, ascending."""
    each_token: bool
    layers: int


def pairs(layout: Layout) -> list[tuple[str, str]]:
    """Every (metric, population) that is reported, in the order of the row groups."""
    return [
        (layout.metrics[place].name, population)
        for population in layout.reported_populations
        for place in layout.metrics_of(population)
    ]


def unranked_name(layer: int) -> str:
    """Where a layer's correlations wait for their q."""
    return f"unranked/layer-{layer:03d}.parquet"


def reduce_layer(job: ReduceJob, layer: int) -> None:
    """Write the correlations of one layer, still without q."""
    folder = Folder(job.uri)
    reference = read_references(folder)[0][layer]
    sums = [read_layer(folder, shards, layer, job.layout) for shards in job.halves]
    moments = [read_moments(folder, shards) for shards in job.halves]
    tables = _layer_tables(job, layer, reference, sums, moments)
    folder.write(unranked_name(layer), parquet_bytes(tables, CORRELATIONS))


def _layer_tables(
    job: ReduceJob,
    layer: int,
    reference: Array,
    sums: Sequence[LayerSums | None],
    moments: Sequence[Moments | None],
) -> Iterator[pa.Table]:
    tokens, neurons = reference.shape
    width = tokens * neurons
    token = pa.array(np.repeat(np.arange(tokens, dtype=np.int16), neurons)) if job.each_token else None
    whole_sums = tree_sum(half for half in sums if half is not None)
    whole_moments = tree_sum(half for half in moments if half is not None)
    sources = [(whole_sums, whole_moments), *zip(sums, moments, strict=True)]
    for metric, population in pairs(job.layout):
        whole, *halves = (
            None if s is None or m is None else _centred(job.layout, s, m, metric, population, reference.ravel())
            for s, m in sources
        )
        assert whole is not None
        r = whole.r()
        low, high = interval(r, whole.degrees_of_freedom)
        half_r = [np.full(width, np.nan) if half is None else half.r() for half in halves]
        columns = {
            "layer": np.full(width, layer, np.int16),
            "token": token if token is not None else pa.nulls(width, pa.int16()),
            "neuron": np.tile(np.arange(neurons, dtype=np.int32), tokens),
            "metric": pa.array([metric]).dictionary_encode().take(pa.array(np.zeros(width, np.int8))).cast(pa.string()),
            "population": pa.array([population])
            .dictionary_encode()
            .take(pa.array(np.zeros(width, np.int8)))
            .cast(pa.string()),
            "n": np.full(width, whole.n, np.int64),
            "r": r,
            "ci_low": low,
            "ci_high": high,
            "p": p_value(r, whole.degrees_of_freedom),
            "q": np.full(width, np.nan),
            "r_half0": half_r[0],
            "r_half1": half_r[1],
            "activation_mean": whole.activation_mean,
            "activation_std": whole.activation_std,
        }
        yield pa.table({name: _null_for_nan(column) for name, column in columns.items()}, schema=CORRELATIONS)


def _null_for_nan(column: object) -> object:
    if isinstance(column, np.ndarray) and column.dtype == np.float64:
        return pa.array(column, from_pandas=True)
    return column


def _centred(
    layout: Layout, sums: LayerSums, moments: Moments, metric: str, population: str, reference: Array
) -> Centred:
    nullable = next(m.nullable for m in layout.metrics if m.name == metric)
    suffix = f":{metric}" if nullable else ""
    parts = []
    for member in layout.members_of(population):
        k = layout.populations.index(member)
        n, sum_y, sum_yy = moments.of(member, metric)
        parts.append(
            Centred.of(
                n=n,
                sum_a=sums.column(f"sum_a{suffix}", k),
                sum_aa=sums.column(f"sum_aa{suffix}", k),
                sum_ay=sums.column(f"sum_ay:{metric}", k),
                sum_y=sum_y,
                sum_yy=sum_yy,
                reference=reference,
            )
        )
    return parts[0] if len(parts) == 1 else Centred.pooled(parts)


def rank(job: ReduceJob) -> None:
    """Write `correlations/` and `top.parquet`: q over the whole model, one metric and population at a time."""
    folder = Folder(job.uri)
    files = [folder.open(unranked_name(layer)) for layer in range(job.layers)]
    readers = [pq.ParquetFile(file) for file in files]
    tops: list[pa.Table] = []
    with parquet_stream(folder, [correlations_name(layer) for layer in range(job.layers)], CORRELATIONS) as writers:
        for group, _ in enumerate(pairs(job.layout)):
            tables = [reader.read_row_group(group) for reader in readers]
            q = false_discovery_rate(np.concatenate([_floats(table["p"]) for table in tables]))
            starts = np.cumsum([0, *(table.num_rows for table in tables)])
            place = CORRELATIONS.get_field_index("q")
            ranked = [
                table.set_column(place, CORRELATIONS.field(place), pa.array(q[start:stop], from_pandas=True))
                for table, start, stop in zip(tables, starts, starts[1:], strict=False)
            ]
            for writer, table in zip(writers, ranked, strict=True):
                writer.write_table(table, row_group_size=max(1, table.num_rows))
            tops.append(_largest(pa.concat_tables(ranked), TOP))
    folder.write(TOP_NAME, parquet_bytes(tops, CORRELATIONS))
    for file in files:
        file.close()
    for layer in range(job.layers):
        folder.delete(unranked_name(layer))


def _largest(table: pa.Table, count: int) -> pa.Table:
    """The rows of largest |r|, descending; ties in order of layer, token and neuron; undefined r left out."""
    strength = np.abs(_floats(table["r"]))
    strength[np.isnan(strength)] = -1.0
    order = np.argsort(-strength, kind="stable")[:count]
    return table.take(pa.array(order[strength[order] >= 0]))


def _floats(column: pa.ChunkedArray) -> Array:
    """Float64 with NaN for null."""
    return np.array(column.to_numpy(), np.float64)
