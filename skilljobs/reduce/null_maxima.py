"""The largest |r| of each null metric in the model: over `all`, within groups, and with other metrics held fixed."""

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from skilljobs.reduce.shard_sums import Halves, read_totals
from skilljobs.reduce.unranked import Part
from skilljobs.stats.aggregate import mean_correlation
from skilljobs.stats.layout import ALL, WITHIN
from skilljobs.stats.null_within import null_centred
from skilljobs.stats.partial import partial
from skilljobs.stats.totals import LayerTotals
from skilljobs.store.reader import RunReader
from skilljobs.store.schema import NULL_MAXIMA

Array = NDArray[np.float64]
STRENGTHS = ("r", "r_half0", "r_half1")


def null_maxima_of(metric: str, population: str, layers: Sequence[Part]) -> pa.Table:
    """Return the row of a null metric, from the correlations of all layers."""
    strengths = {name: _largest(np.concatenate([part.columns[name] for part in layers])) for name in STRENGTHS}
    return _rows([{"metric": metric, "population": population, "n": layers[0].n, **strengths}])


def null_maxima_within(whole: LayerTotals, halves: Sequence[LayerTotals | None], metrics: Sequence[str]) -> pa.Table:
    """Return a row for each null metric of `metrics` and grouping column, of one layer; none where it is not known."""
    layout, rows = whole.layout, []
    nulls = [metric.name for metric in layout.metrics if metric.kind == "null" and metric.name in metrics]
    for population in (WITHIN + column for column in layout.groups):
        centred = null_centred(whole, nulls, population)
        if centred is None:
            continue
        of_halves = [None if half is None else null_centred(half, nulls, population) for half in halves]
        for place, name in enumerate(nulls):
            parts = [None if half is None else _largest(half[place].r()) for half in of_halves]
            strengths = dict(zip(STRENGTHS, (_largest(centred[place].r()), *parts), strict=True))
            rows.append({"metric": name, "population": population, "n": centred[place].n, **strengths})
    return _rows(rows)


def by_population(tables: Sequence[pa.Table]) -> pa.Table:
    """Return the rows of several groups of a layer's null metrics as those of all: by population, then by metric."""
    table = pa.concat_tables(tables)
    places = {population: place for place, population in enumerate(dict.fromkeys(table["population"].to_pylist()))}
    return table.take(
        pa.array(np.argsort([places[name] for name in table["population"].to_pylist()], kind="stable"), pa.int64())
    )


def largest_of_layers(tables: Sequence[pa.Table]) -> pa.Table:
    """Return a row for each null metric and population of `tables`, with the largest of each strength."""
    frame = pl.concat([pl.DataFrame(pl.from_arrow(table)) for table in (*tables, _rows([]))])
    largest = frame.group_by("metric", "population", maintain_order=True).agg(
        pl.col("n").first(), pl.col(STRENGTHS).max()
    )
    return largest.to_arrow().cast(NULL_MAXIMA)


def partial_null_maxima(run: RunReader, given: Sequence[str]) -> pl.DataFrame:
    """Return the largest partial |r| of each null metric over `all` with the metrics `given` held fixed.

    The columns are those of `null_maxima.parquet`. The sums of all shards are read once. All examples must have all of
    these metrics, and the run their products with the null metrics.
    """
    run.require_sums()
    layout, prompts = run.layout(), run.prompts()
    halves: Halves = run.record.halves
    nulls = [metric.name for metric in layout.metrics if metric.kind == "null"]
    strengths = {name: dict.fromkeys(STRENGTHS, -1.0) for name in nulls}
    examples = 0
    for layer in range(len(run.record.neurons)):
        totals = [read_totals(prompt.folder, halves, layer, layout) for prompt in prompts]
        examples = min(whole.moments.pair(ALL, nulls[0], nulls[0])[0] for whole, _ in totals)
        for name in nulls:
            parts = [[whole, *of_halves] for whole, of_halves in totals]
            for strength, of_prompts in zip(STRENGTHS, zip(*parts, strict=True), strict=True):
                r = [_partial_r(part, name, given) for part in of_prompts if part is not None]
                if len(r) == len(prompts):
                    largest = _largest(r[0] if len(r) == 1 else mean_correlation(np.stack(r)))
                    strengths[name][strength] = max(strengths[name][strength], -1.0 if largest is None else largest)
    rows = [
        {"metric": name, "population": ALL, "n": examples}
        | {strength: None if value < 0 else value for strength, value in values.items()}
        for name, values in strengths.items()
    ]
    return pl.DataFrame(pl.from_arrow(_rows(rows)))


def _partial_r(totals: LayerTotals, metric: str, given: Sequence[str]) -> Array:
    centred, held = totals.centred(metric, ALL), totals.given(metric, given, ALL)
    return (centred if held is None else partial(centred, held)).r()


def _rows(rows: Sequence[Mapping[str, object]]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), NULL_MAXIMA)


def _largest(r: Array) -> float | None:
    """The largest |r|, None if none is defined."""
    strength = np.abs(r[~np.isnan(r)])
    return float(strength.max()) if len(strength) else None
