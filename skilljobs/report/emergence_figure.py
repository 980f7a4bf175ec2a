"""The figure of a series of models: the strongest r of each, and where the last one's strongest neuron appears."""

from typing import Any

import altair as alt
import polars as pl

from skilljobs.analysis.distributions import neuron_text
from skilljobs.report.charts import Figure, labels, shortened
from skilljobs.stats.layout import ALL

EACH, LAST = "the strongest neuron of each model", "the strongest neuron of the last model"
SIZE = {"width": 460, "height": 280}


def emergence_figure(rows: pl.DataFrame, metric: str, population: str, name: str) -> Figure:
    """The figure of one metric; `rows` are those of `skilljobs.analysis.emergence.emergence`."""
    [shown] = labels([metric]).values()
    caption = (
        f"{metric}, {population}: r on half 1 of the neuron with the largest |r| on half 0 in each model, and of the"
        " neuron that is strongest on half 0 in the last model, both with the sign that r has on half 0. The dots are"
        " the null threshold of half 1: chance exceeds it somewhere in the model with a probability of about 5%."
    )
    return Figure(
        name, emergence_chart(rows, shown if population == ALL else f"{shown}, {shortened(population)}"), caption
    )


def emergence_chart(rows: pl.DataFrame, metric: str) -> alt.TopLevelMixin:
    """The chart of one metric: models in their order, r on half 1."""
    names = labels(rows["checkpoint"].to_list())
    points = emergence_points(rows)
    shown = {"model": list(names.values())}
    x = alt.X("model:N", title="model", sort=shown["model"], scale=alt.Scale(domain=shown["model"]))
    y = alt.Y("r:Q", title="r on half 1", scale=alt.Scale(zero=True))
    colour = alt.Color("of:N", title=None, scale=alt.Scale(domain=[EACH, LAST]), legend=alt.Legend(orient="top"))
    dash = alt.StrokeDash("of:N", title=None, scale=alt.Scale(domain=[EACH, LAST], range=[[1, 0], [5, 3]]), legend=None)
    measured = [point for point in points if "r" in point]
    thresholds = [point for point in points if "null" in point]
    lines = alt.Chart(alt.Data(values=measured)).mark_line().encode(x=x, y=y, color=colour, strokeDash=dash)
    marks = (
        alt.Chart(alt.Data(values=measured)).mark_point(filled=True, size=45, opacity=1).encode(x=x, y=y, color=colour)
    )
    null = alt.Chart(alt.Data(values=thresholds)).mark_line(style="null", point=False).encode(x=x, y=alt.Y("null:Q"))
    zero = alt.Chart(alt.Data(values=[{"r": 0}])).mark_rule(style="zero").encode(y=alt.Y("r:Q"))
    chart: alt.TopLevelMixin = alt.layer(zero, null, lines, marks).properties(title=metric, **SIZE)
    return chart


def emergence_points(rows: pl.DataFrame) -> list[dict[str, Any]]:
    """What is drawn: for each model r of its own strongest neuron and of the last one's, and the null threshold."""
    names = labels(rows["checkpoint"].to_list())
    known = [row for row in rows.to_dicts() if row["r_half0"] is not None]
    points: list[dict[str, Any]] = []
    for row in known:
        model = names[row["checkpoint"]]
        for of, source, r in ((EACH, row, row["r_half1"]), (LAST, known[-1], row["last_r_half1"])):
            if r is not None:
                sign = 1 if source["r_half0"] > 0 else -1
                points.append({"model": model, "of": of, "r": sign * r, "neuron": neuron_text(source)})
        if row["null_half1"] is not None:
            points.append({"model": model, "null": row["null_half1"]})
    return points
