"""From committed shards to correlations: one layer at a time, then one pass over all layers for q and the top.

The pipeline runs `reduce_layer` as a task for each layer, and then `rank` once.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet as pq

from skilljobs.reduce.correlation_table import correlation_table, floats
from skilljobs.reduce.null_maxima import largest_of_layers, null_maxima_of, null_maxima_within
from skilljobs.reduce.shard_sums import Halves, read_counts, read_totals
from skilljobs.stats.correlate import best_tokens, correlation_columns, false_discovery_rate, strongest_first
from skilljobs.stats.layout import NULL, Layout
from skilljobs.stats.neurons import LayerNeurons
from skilljobs.stats.predictivity import COLUMNS as PREDICTIVITY_COLUMNS
from skilljobs.stats.predictivity import above_layout, accuracy, predictivity_columns
from skilljobs.stats.totals import LayerTotals, Moments
from skilljobs.store.files import Folder
from skilljobs.store.run import BEST_NAME, NULL_MAXIMA_NAME, TOP_NAME, TOP_ROWS, correlations_name
from skilljobs.store.schema import (
    BEST,
    CORRELATIONS,
    CORRELATIONS_PREDICTIVITY,
    NULL_MAXIMA,
    parquet_bytes,
    parquet_stream,
)

Array = NDArray[np.float64]
Predictor = Callable[[str, str], dict[str, Array]]
UNRANKED = "unranked"


@dataclass(frozen=True)
class ReduceJob:
    """What a reducer must know about a run."""

    uri: str
    layout: Layout
    halves: Halves
    tokens: int | None
    """Prompt positions kept for each neuron; None if they are aggregated."""
    neurons: tuple[LayerNeurons, ...]
    """Those of each layer that is read."""
    yes_no: tuple[str, ...] = ()
    """The metrics whose predictivity was counted."""
    counted_tokens: int = 1
    """Prompt positions for which it was counted."""

    @property
    def schema(self) -> pa.Schema:
        """The columns of the correlations."""
        return CORRELATIONS_PREDICTIVITY if self.yes_no else CORRELATIONS

    @property
    def layers(self) -> int:
        """The number of layers that are read."""
        return len(self.neurons)

    @property
    def correlations_names(self) -> list[str]:
        """The file of each layer's correlations."""
        return [correlations_name(layer.layer) for layer in self.neurons]


def pairs(layout: Layout) -> list[tuple[str, str]]:
    """Every reported (metric, population), in the order of the row groups."""
    return [
        (layout.metrics[place].name, population)
        for population in layout.reported_populations
        for place in layout.metrics_of(population)
    ]


def unranked_name(layer: int) -> str:
    """The file in which a layer's correlations wait for their q."""
    return f"{UNRANKED}/layer-{layer:03d}.parquet"


def unranked_null_name(layer: int) -> str:
    """The file in which the largest |r| of a layer's null metrics within groups waits for those of other layers."""
    return f"{UNRANKED}/null-{layer:03d}.parquet"


def reduce_layer(job: ReduceJob, layer: int) -> None:
    """Write the correlations of the layer at this place among those that are read, still without q."""
    folder = Folder(job.uri)
    whole, halves = read_totals(folder, job.halves, layer, job.layout)
    predict = predictor(job, folder, layer, [half.moments if half else None for half in halves])
    tables = _layer_tables(job, layer, whole, halves, predict)
    folder.write(unranked_name(layer), parquet_bytes(tables, job.schema))
    folder.write(unranked_null_name(layer), parquet_bytes([null_maxima_within(whole, halves)], NULL_MAXIMA))


def _layer_tables(
    job: ReduceJob, layer: int, whole: LayerTotals, halves: Sequence[LayerTotals | None], predict: Predictor
) -> Iterator[pa.Table]:
    for metric, population in pairs(job.layout):
        centred = whole.centred(metric, population)
        columns = correlation_columns(centred, [half.centred(metric, population) if half else None for half in halves])
        columns |= predict(metric, population)
        yield correlation_table(columns, job.neurons[layer], job.tokens, metric, population, centred.n, job.schema)


def rank(job: ReduceJob) -> None:
    """Write `correlations/` and `top.parquet`, with q over the whole model, one metric and population at a time.

    If prompt positions are kept, also write `best.parquet`: the best token of each neuron, its p corrected for the
    choice. `null_maxima.parquet` has the largest |r| of each null metric in the model.
    """
    folder = Folder(job.uri)
    files = [folder.open(unranked_name(layer)) for layer in range(job.layers)]
    readers = [pq.ParquetFile(file) for file in files]
    tops, bests, maxima = [], [], []
    with parquet_stream(folder, job.correlations_names, job.schema) as writers:
        for group, (metric, population) in enumerate(pairs(job.layout)):
            ranked = _with_q([reader.read_row_group(group) for reader in readers])
            for writer, table in zip(writers, ranked, strict=True):
                writer.write_table(table, row_group_size=max(1, table.num_rows))
            if metric.startswith(NULL):
                maxima.append(null_maxima_of(metric, population, ranked))
            tops.append(_largest(pa.concat_tables(ranked), TOP_ROWS))
            if job.tokens is not None:
                bests.append(pa.concat_tables(_with_q([_best(table, job.tokens) for table in ranked])))
    folder.write(TOP_NAME, parquet_bytes(tops, job.schema))
    maxima += [
        pq.read_table(pa.BufferReader(folder.read(name)))
        for name in map(unranked_null_name, range(job.layers))
        if folder.exists(name)
    ]
    folder.write(NULL_MAXIMA_NAME, parquet_bytes([largest_of_layers(maxima)], NULL_MAXIMA))
    if bests:
        folder.write(BEST_NAME, parquet_bytes(bests, BEST))
    for file in files:
        file.close()
    folder.delete_folder(UNRANKED)


def predictor(job: ReduceJob, folder: Folder, layer: int, moments: Sequence[Moments | None]) -> Predictor:
    """What predictivity adds to the columns of a metric and population; nothing if it was not counted."""
    if not job.yes_no:
        return lambda metric, population: {}
    layout = above_layout(job.layout, job.yes_no)
    counts = [read_counts(folder, shards, layer, layout) for shards in job.halves]
    rows = job.neurons[layer].count * (job.tokens or 1)

    def predict(metric: str, population: str) -> dict[str, Array]:
        if metric not in job.yes_no:
            return {name: np.full(rows, np.nan) for name in PREDICTIVITY_COLUMNS}
        halves = [
            None if c is None or m is None else accuracy(layout, c, m, metric, population)
            for c, m in zip(counts, moments, strict=True)
        ]
        return predictivity_columns(halves, job.counted_tokens, job.tokens is not None)

    return predict


def _with_q(tables: Sequence[pa.Table]) -> list[pa.Table]:
    """The tables with q, computed from the p of all of them together."""
    q = false_discovery_rate(np.concatenate([floats(table["p"]) for table in tables]))
    place = tables[0].schema.get_field_index("q")
    starts = np.cumsum([0, *(table.num_rows for table in tables)])
    return [
        table.set_column(place, "q", pa.array(q[start:stop], from_pandas=True))
        for table, start, stop in zip(tables, starts, starts[1:], strict=False)
    ]


def _best(table: pa.Table, tokens: int) -> pa.Table:
    """The token of largest |r| for each neuron of a layer; neurons without any r are left out."""
    r, p = (floats(table[name]).reshape(tokens, -1) for name in ("r", "p"))
    token, corrected = best_tokens(r, p)
    neurons = np.flatnonzero(token >= 0)
    rows = table.take(pa.array(token[neurons] * r.shape[1] + neurons)).select(BEST.names)
    return rows.set_column(rows.schema.get_field_index("p"), "p", pa.array(corrected[neurons], from_pandas=True))


def _largest(table: pa.Table, count: int) -> pa.Table:
    """The rows of largest |r|, descending, ties by layer, token, expert and neuron; rows without r are left out."""
    return table.take(pa.array(strongest_first(floats(table["r"]), count)))
