"""p, q and the strongest neurons of one metric and population, over all layers."""

from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from skilljobs.reduce.correlation_table import correlation_table, floats
from skilljobs.reduce.layers import ReduceJob, pairs
from skilljobs.reduce.null_maxima import null_maxima_of
from skilljobs.reduce.unranked import Part, best_name, open_layer, write_significance, write_table
from skilljobs.stats.correlate import (
    best_tokens,
    false_discovery_rate,
    p_value,
    strongest_first,
    with_significance,
)
from skilljobs.stats.layout import NULL
from skilljobs.store.files import Folder
from skilljobs.store.run import TOP_ROWS
from skilljobs.store.schema import BEST

Array = NDArray[np.float64]
NULL_STRENGTHS = ("r", "r_half0", "r_half1")


@dataclass(frozen=True)
class RankedPair:
    """What the metric and population at `place` contribute to the tables over all of them."""

    place: int
    top: pa.Table
    null_maxima: pa.Table | None
    """The row of a null metric."""


def rank_pair(job: ReduceJob, place: int) -> RankedPair:
    """Write p and q for the metric and population at `place`, and with tokens kept, each neuron's best token.

    Ties of |r| are ordered by layer, token, expert and neuron; neurons without r are in no ranking.
    """
    folder, (metric, population) = Folder(job.uri), pairs(job.layout)[place]
    with ExitStack() as stack:
        wanted = NULL_STRENGTHS if metric.startswith(NULL) else NULL_STRENGTHS[:1]
        layers = [stack.enter_context(open_layer(folder, layer, wanted)) for layer in range(job.layers)]
        parts = [layer.part(place) for layer in layers]
    r = np.concatenate([part.columns["r"] for part in parts])
    starts = np.cumsum([0, *(len(part.columns["r"]) for part in parts)])
    # the degrees of freedom are those of the examples, hence the same in all layers
    p = p_value(r, parts[0].degrees_of_freedom)
    q = false_discovery_rate(p)
    of_layers = [(p[start:stop], q[start:stop]) for start, stop in pairwise(starts)]
    write_significance(folder, place, of_layers)
    if job.tokens is not None:
        tables = [_best(job, place, layer, part, of_layers[layer][0]) for layer, part in enumerate(parts)]
        write_table(folder, best_name(place), _with_q(tables))
    top = _rows(job, folder, place, strongest_first(r, TOP_ROWS), starts, of_layers)
    maxima = null_maxima_of(metric, population, parts) if metric.startswith(NULL) else None
    return RankedPair(place, top, maxima)


def table_of(job: ReduceJob, place: int, layer: int, part: Part, p: Array, q: Array) -> pa.Table:
    """The correlations of a layer with the metric at `place` over its population."""
    metric, population = pairs(job.layout)[place]
    columns = with_significance(part.columns, part.degrees_of_freedom, p, q)
    return correlation_table(columns, job.neurons[layer], job.tokens, metric, population, part.n, job.schema)


def _rows(
    job: ReduceJob,
    folder: Folder,
    place: int,
    order: NDArray[np.intp],
    starts: NDArray[np.int64],
    significance: list[tuple[Array, Array]],
) -> pa.Table:
    """The rows at `order`, places in all layers one after another, in that order."""
    layer_of = np.searchsorted(starts, order, side="right") - 1
    tables, places = [], []
    for layer in np.unique(layer_of).tolist():
        here = np.flatnonzero(layer_of == layer)
        with open_layer(folder, layer) as opened:
            table = table_of(job, place, layer, opened.part(place), *significance[layer])
        tables.append(table.take(pa.array(order[here] - starts[layer])))
        places.append(here)
    if not tables:
        return job.schema.empty_table()
    return pa.concat_tables(tables).take(pa.array(np.argsort(np.concatenate(places))))


def _best(job: ReduceJob, place: int, layer: int, part: Part, p: Array) -> pa.Table:
    """The token of largest |r| for each neuron of a layer; neurons without any r are left out."""
    assert job.tokens is not None
    r = part.columns["r"].reshape(job.tokens, -1)
    token, corrected = best_tokens(r, p.reshape(job.tokens, -1))
    neurons = np.flatnonzero(token >= 0)
    rows = token[neurons] * r.shape[1] + neurons
    metric, population = pairs(job.layout)[place]
    columns = {"r": part.columns["r"], "p": p, "q": np.full_like(p, np.nan)}
    table = correlation_table(columns, job.neurons[layer], job.tokens, metric, population, part.n, BEST)
    table = table.take(pa.array(rows))
    return table.set_column(BEST.get_field_index("p"), "p", pa.array(corrected[neurons], from_pandas=True))


def _with_q(tables: list[pa.Table]) -> pa.Table:
    """The tables as one, with q computed from all of their p."""
    table = pa.concat_tables(tables)
    q = false_discovery_rate(floats(table["p"]))
    stops = np.cumsum([part.num_rows for part in tables])[:-1]
    chunks = [pa.array(chunk, from_pandas=True) for chunk in np.split(q, stops)]
    return table.set_column(BEST.get_field_index("q"), "q", pa.chunked_array(chunks))
