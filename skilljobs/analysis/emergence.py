"""When neurons appear over a series of models: what is ranked on half 0 is measured on half 1, model by model."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from scipy.stats import spearmanr

from skilljobs.analysis.conclusions import count_above
from skilljobs.analysis.null_thresholds import NullThreshold, NullThresholds
from skilljobs.analysis.ranking import check_pair
from skilljobs.store.reader import RunReader
from skilljobs.store.schema import NEURON_KEY

OVERLAP_SHARE = 10
"""The overlap is counted among at most one of so many neurons: of all neurons, every ranking shares all."""
EMERGENCE: dict[str, Any] = {
    "checkpoint": pl.String,
    "run": pl.String,
    "accuracy": pl.Float64,
    "neurons": pl.Int64,
    **dict.fromkeys(NEURON_KEY, pl.Int32),
    "r_half0": pl.Float64,
    "r_half1": pl.Float64,
    "null_half1": pl.Float64,
    "above": pl.Int64,
    "found": pl.Int64,
    "hold": pl.Int64,
    "last_r_half1": pl.Float64,
    "rank_correlation": pl.Float64,
    "overlap": pl.Int64,
    "expected_overlap": pl.Float64,
    "k": pl.Int64,
}
"""The columns of `emergence`, with their types."""


@dataclass(frozen=True)
class SeriesMember:
    """A model of a series: what it is called, and its run."""

    label: str
    run: RunReader

    @property
    def is_measured(self) -> bool:
        """Whether its run has correlations."""
        return self.run.exists and self.run.record.is_done("reduce")


def emergence(members: Sequence[SeriesMember], metric: str, population: str, k: int) -> pl.DataFrame:
    """Return a row for each model of a series, in order.

    Columns: `checkpoint`, `run`; `accuracy` on test; `neurons` whose r is defined; the neuron (`layer` to `neuron`) of
    largest |r| on half 0, with its r there (`r_half0`) and on half 1 (`r_half1`); `null_half1`, what chance reaches
    somewhere in the model on half 1; how many neurons are `above` the null threshold over all examples, how many are
    `found` on half 0 and how many of these `hold` on half 1 (as in `count_above`). And, if the last model that is
    measured has the same neurons: r on half 1 of *its* strongest neuron on half 0 (`last_r_half1`), Spearman's rank
    correlation of r over neurons with the last model, and how many of the `k` neurons of largest |r| both have, with
    what is expected by chance. A model whose run has no correlations yet has nulls.

    Raises:
        InputError: a run has no such metric or population.
    """
    measured = [member for member in members if member.is_measured]
    for member in measured:
        check_pair(member.run, metric, population)
    last = measured[-1] if measured else None
    last_rows = None if last is None else _rows(last.run, metric, population)
    rows = []
    for member in members:
        row: dict[str, Any] = {"checkpoint": member.label, "run": member.run.uri}
        if member.is_measured and last is not None and last_rows is not None:
            of_member = last_rows if member is last else _rows(member.run, metric, population)
            row |= _alone(member.run, of_member, metric, population)
            if are_matched(member.run, last.run) and of_member[NEURON_KEY].equals(last_rows[NEURON_KEY]):
                row |= _beside_last(of_member, last_rows, k)
        rows.append(row)
    return pl.DataFrame(rows, schema=EMERGENCE)


def are_matched(run: RunReader, last: RunReader) -> bool:
    """Whether two runs have read the same neurons, by place, of models of one shape."""
    shapes = [
        (one.record.model.neurons, one.record.model.parameters, one.record.job_spec.units, one.record.job_spec.tokens)
        for one in (run, last)
    ]
    return shapes[0] == shapes[1]


def _rows(run: RunReader, metric: str, population: str) -> pl.DataFrame:
    """r of every neuron, in the order of neurons."""
    rows = run.correlations().filter(pl.col("metric") == metric, pl.col("population") == population)
    return rows.select(*NEURON_KEY, "r", "r_half0", "r_half1").sort(NEURON_KEY, nulls_last=False).collect()


def _strongest(rows: pl.DataFrame, column: str, k: int) -> pl.DataFrame:
    """The `k` neurons of largest value, by amount; of equal ones the first."""
    return rows.drop_nulls(column).sort(pl.col(column).abs(), descending=True, maintain_order=True).head(k)


def _alone(run: RunReader, rows: pl.DataFrame, metric: str, population: str) -> dict[str, Any]:
    """What a run says by itself."""
    row: dict[str, Any] = {"accuracy": run.record.accuracy.test, "neurons": rows["r"].count()}
    for strongest in _strongest(rows, "r_half0", 1).select(*NEURON_KEY, "r_half0", "r_half1").iter_rows(named=True):
        row |= strongest
    threshold = NullThresholds(run).of(metric, population)
    if isinstance(threshold, NullThreshold):
        counts = count_above(run, metric, population, threshold)
        row |= {"null_half1": threshold.half1, "above": counts.above, "found": counts.on_half0, "hold": counts.hold}
    return row


def _beside_last(rows: pl.DataFrame, last_rows: pl.DataFrame, k: int) -> dict[str, Any]:
    """How a run's ranking agrees with that of the last one, whose neurons are the same."""
    both = rows.with_columns(
        last=last_rows["r"], last_half0=last_rows["r_half0"], last_half1=last_rows["r_half1"]
    ).with_row_index("place")
    found = _strongest(both, "last_half0", 1)
    row: dict[str, Any] = {"last_r_half1": found["r_half1"][0] if len(found) else None}
    defined = both.drop_nulls(["r", "last"])
    if len(defined) > 1 and all(defined[name].n_unique() > 1 for name in ("r", "last")):
        row["rank_correlation"] = float(np.asarray(spearmanr(defined["r"], defined["last"]).statistic))
    few = max(1, min(k, len(both) // OVERLAP_SHARE))
    tops = [_strongest(both, name, few) for name in ("r", "last")]
    shared = len(tops[0].join(tops[1].select("place"), on="place", how="semi"))
    return row | {"overlap": shared, "k": few, "expected_overlap": len(tops[0]) * len(tops[1]) / max(1, len(both))}
