"""The figure of estimated effects: each neuron by how it follows a metric and by what it causes."""

from collections.abc import Iterator

import altair as alt
import numpy as np
import polars as pl

from skilljobs.analysis.effect_ranking import (
    NEURON,
    correlations_beside,
    effect_threshold,
    metric_of,
)
from skilljobs.analysis.null_thresholds import NullThreshold, NullThresholds
from skilljobs.report.charts import Figure, labels
from skilljobs.stats.layout import ALL
from skilljobs.store.reader import RunReader
from skilljobs.store.run import EFFECTS_NAME

KINDS = ("follows", "causes", "both", "neither")
CELLS = 60
"""Cells of the grid on each side, in which the neurons of each kind are counted: a model has too many for points."""
NAMED = 8
"""Neurons of largest effect that are named."""
LINEAR = 50
"""The largest effect, in the effect below which the axis is linear; above it, it is logarithmic."""
SIZE = {"width": 460, "height": 320}


def effect_figures(run: RunReader) -> Iterator[Figure]:
    """Yield the figure of each outcome and soft prompt of a run."""
    if not run.folder.exists(EFFECTS_NAME):
        return
    every = run.effect_table().filter(pl.col("group") == ALL)
    found = every.select("outcome", "prompt").unique(maintain_order=True).collect()
    for outcome, prompt in found.iter_rows():
        metric = metric_of(run, outcome)
        if metric is None:
            continue
        rows = every.filter(pl.col("outcome") == outcome, pl.col("prompt").eq_missing(pl.lit(prompt, pl.Int16)))
        beside = correlations_beside(run, metric, ALL)
        joined = rows.join(beside, on=NEURON, nulls_equal=True).drop_nulls(["r", "effect"]).collect()
        if joined.is_empty():
            continue
        found_null = NullThresholds(run).of(metric, ALL)
        least_r = found_null.r if isinstance(found_null, NullThreshold) else None
        effects = effect_threshold(run, outcome, prompt)
        least = effects.consistency if effects else None
        suffix = outcome if prompt is None else f"{outcome}-prompt{prompt}"
        with_prompt = "" if prompt is None else f", soft prompt {prompt}"
        yield Figure(
            f"effects-{suffix}",
            effects_chart(joined, metric, least_r, least),
            f"Who follows {metric}, who causes a change of the {outcome.replace('_', ' ')}, and who does both"
            f"{with_prompt}: each neuron's r, and its effect on half 1 to first order if it had its mean at the prompt."
            " A neuron follows or causes if it is beyond what chance reaches somewhere in the model (null metrics;"
            " random signs for units). The strongest are named LAYER/NEURON. The axis is logarithmic for all but"
            " small effects.",
        )


def effects_chart(
    rows: pl.DataFrame, metric: str, least_r: float | None, least_consistency: float | None
) -> alt.TopLevelMixin:
    """The chart of one outcome and soft prompt.

    `rows` has `r`, `effect`, `consistency` and `outcome` of each neuron; beyond `least_r` it follows the metric, and
    beyond `least_consistency` it causes something. Without one of them, no neuron is known to.
    """
    follows = pl.lit(False) if least_r is None else pl.col("r").abs() > least_r
    causes = pl.lit(False) if least_consistency is None else pl.col("consistency") > least_consistency
    kind = pl.when(follows & causes).then(pl.lit("both")).when(follows).then(pl.lit("follows"))
    rows = rows.with_columns(kind=kind.when(causes).then(pl.lit("causes")).otherwise(pl.lit("neither")))
    widest, tallest = (float(np.abs(rows[name].to_numpy()).max()) or 1.0 for name in ("r", "effect"))
    counts = rows["kind"].value_counts()
    of_kind = dict(counts.iter_rows())
    legend = [f"{name} ({of_kind.get(name, 0):,})" for name in KINDS]
    titles = dict(zip(KINDS, legend, strict=True))
    cells = _cells(rows, widest, tallest)
    values = [{**cell, "kind": titles[str(cell["kind"])]} for cell in cells.iter_rows(named=True)]
    strongest = rows.sort(pl.col("effect").abs(), descending=True).head(NAMED)
    named = [
        {"r": row["r"], "effect": row["effect"], "name": f"{row['layer']}/{row['neuron']}"}
        for row in strongest.iter_rows(named=True)
    ]
    [shown] = labels([metric]).values()
    x = alt.X("r:Q", title=f"r with {shown}", scale=alt.Scale(domain=[-1.05 * widest, 1.05 * widest], nice=False))
    outcome = str(rows["outcome"][0]).replace("_", " ")
    tall = alt.Scale(type="symlog", constant=tallest / LINEAR, domain=[-1.1 * tallest, 1.1 * tallest], nice=False)
    y = alt.Y("effect:Q", title=f"estimated change of the {outcome} (nats)", scale=tall, axis=alt.Axis(tickCount=7))
    colour = alt.Color("kind:N", title="neurons", scale=alt.Scale(domain=legend))
    most = alt.Scale(type="log", range=[8, 160], domain=[1, max(2, int(cells["neurons"].to_numpy().max()))])
    size = alt.Size("neurons:Q", scale=most, title="in one place", legend=alt.Legend(tickCount=3, format="d"))
    faint = alt.condition(alt.datum.kind == titles["neither"], alt.value(0.3), alt.value(0.8))
    points = alt.Chart(alt.Data(values=values)).mark_circle().encode(x=x, y=y, color=colour, size=size, opacity=faint)
    names = (
        alt.Chart(alt.Data(values=named))
        .mark_text(style="note", fontSize=9, dx=5, align="left")
        .encode(x=x, y=y, text="name:N")
    )
    lines = [alt.Chart(alt.Data(values=[{"r": 0, "effect": 0}])).mark_rule(style="zero").encode(y=y)]
    if least_r is not None and least_r < 1.05 * widest:
        marks = alt.Data(values=[{"r": -least_r}, {"r": least_r}])
        lines.append(alt.Chart(marks).mark_rule(style="null").encode(x=x))
    chart: alt.TopLevelMixin = alt.layer(*lines, points, names).properties(**SIZE)
    return chart


def _cells(rows: pl.DataFrame, widest: float, tallest: float) -> pl.DataFrame:
    """The neurons of each kind in each cell of the grid: how many, at their mean place."""
    height = pl.col("effect").sign() * (1 + LINEAR * pl.col("effect").abs() / tallest).log(1 + LINEAR)
    grid = rows.with_columns(column=(pl.col("r") / widest * (CELLS / 2)).floor(), row=(height * (CELLS / 2)).floor())
    return (
        grid.group_by("kind", "column", "row", maintain_order=True)
        .agg(pl.col("r").mean(), pl.col("effect").mean(), pl.len().alias("neurons"))
        .select("kind", "r", "effect", "neurons")
        .sort(
            pl.col("kind").replace_strict(list(KINDS), list(range(len(KINDS)))),
            "r",
            "effect",
            descending=[True, False, False],
        )
    )
