"""Charts of correlations over the whole model: histograms (figure 4 of arXiv 2511.21610), layers, maps and halves.

Each takes the rows that it draws, or the name under which a page hands it rows.
"""

from collections.abc import Sequence
from typing import Any

import altair as alt

from skilljobs.report.charts import Rows, layered
from skilljobs.report.themes import DASHES

Source = Rows | str
QUANTILES = ("median", "99 % of neurons", "largest")
SIGNED, STRENGTH = "+.3f", ".3f"
CELL = 14
"""Pixels of a cell of a map without numbers; one with numbers is twice as large."""


_COUNTS = alt.Axis(labelExpr="datum.value < 1 ? '' : format(datum.value, '~s')", tickCount=4)
LINES_LEGEND = alt.Legend(orient="top", symbolType="stroke", offset=2)


def source(rows: Source) -> alt.Data | alt.NamedData:
    """The data of a chart: its rows, or the name under which a page hands it rows."""
    return alt.NamedData(name=rows) if isinstance(rows, str) else alt.Data(values=list(rows))


def histogram(rows: Source) -> alt.LayerChart:
    """Draw how many neurons have which r.

    `rows` are the bins (low, high, neurons, floor), and the thresholds: top is |r| of the tenth neuron, null that of
    the null.
    """
    base = alt.Chart(source(rows))
    count = alt.Y("floor:Q", scale=alt.Scale(type="log", domainMin=0.5), title="neurons", axis=_COUNTS)
    bars = (
        base.transform_filter("isValid(datum.neurons)")
        .mark_bar(style="bars", binSpacing=0)
        .encode(
            x=alt.X("low:Q", title="correlation r", axis=alt.Axis(tickCount=6)),
            x2="high:Q",
            y=count,
            y2="neurons:Q",
            tooltip=[
                alt.Tooltip("low:Q", title="r from", format=SIGNED),
                alt.Tooltip("high:Q", title="to", format=SIGNED),
                alt.Tooltip("neurons:Q", format=","),
            ],
        )
    )
    return layered(bars, *(_threshold(base, name) for name in ("top", "null")))


def _threshold(base: alt.Chart, name: str) -> alt.Chart:
    title = {"top": "|r| of the tenth neuron", "null": "null threshold"}[name]
    tooltip = alt.Tooltip(f"{name}:Q", title=title, format=SIGNED)
    rule: alt.Chart = (
        base.transform_filter(f"isValid(datum.{name})")
        .mark_rule(style=name)
        .encode(x=alt.X(f"{name}:Q", title="correlation r"), tooltip=tooltip)
    )
    return rule


def layers(rows: Source) -> alt.LayerChart:
    """Draw |r| by layer: the median neuron, the 99th percentile and the largest.

    `rows` have layer, share (one of `QUANTILES`) and strength, the largest also the name of its neuron; one has null.
    """
    base = alt.Chart(source(rows))
    dashes = alt.Scale(domain=QUANTILES, range=list(DASHES[:3]))
    share: Any = {"title": None, "sort": QUANTILES, "legend": LINES_LEGEND}
    drawn = base.transform_filter("isValid(datum.layer)").encode(
        x=alt.X("layer:Q", title="layer", axis=alt.Axis(tickMinStep=1, format="d", grid=False), scale=_TIGHT),
        y=alt.Y("strength:Q", title="|r|", axis=alt.Axis(tickCount=5)),
        color=alt.Color("share:N", scale=alt.Scale(domain=QUANTILES), **share),
        strokeDash=alt.StrokeDash("share:N", scale=dashes, **share),
        tooltip=[
            alt.Tooltip("layer:Q"),
            alt.Tooltip("share:N", title="|r| of the"),
            alt.Tooltip("strength:Q", title="|r|", format=STRENGTH),
            alt.Tooltip("neuron:N", title="neuron"),
        ],
    )
    points = drawn.mark_point(filled=True, size=36, opacity=1)
    null = base.transform_filter("isValid(datum.null)").mark_rule(style="null")
    tooltip = alt.Tooltip("null:Q", title="null threshold", format=STRENGTH)
    return layered(drawn.mark_line(), points, null.encode(y=alt.Y("null:Q", title="|r|"), tooltip=tooltip))


_TIGHT = alt.Scale(zero=False, nice=False)


def halves(rows: Source) -> alt.LayerChart:
    """Draw r of the strongest neurons on half 0 and on half 1.

    `rows` have neuron, r, half0, half1 and q; others the null threshold of a half as null0 or null1.
    """
    base = alt.Chart(source(rows))
    x, y = "r on half 0", "r on half 1"
    points = (
        base.transform_filter("isValid(datum.half0) && isValid(datum.half1)")
        .mark_point(style="points", filled=True, size=55, opacity=0.85, cursor="pointer")
        .encode(
            x=alt.X("half0:Q", title=x, axis=alt.Axis(tickCount=6)),
            y=alt.Y("half1:Q", title=y, axis=alt.Axis(tickCount=6)),
            tooltip=[
                alt.Tooltip("neuron:N"),
                alt.Tooltip("r:Q", format=SIGNED),
                alt.Tooltip("half0:Q", title=x, format=SIGNED),
                alt.Tooltip("half1:Q", title=y, format=SIGNED),
                alt.Tooltip("q:Q", format=".1e"),
            ],
        )
    )
    nulls = [
        base.transform_filter("isValid(datum.null0)").mark_rule(style="null").encode(x=alt.X("null0:Q", title=x)),
        base.transform_filter("isValid(datum.null1)").mark_rule(style="null").encode(y=alt.Y("null1:Q", title=y)),
    ]
    axes = [base.mark_rule(style="zero").encode(x=alt.XDatum(0)), base.mark_rule(style="zero").encode(y=alt.YDatum(0))]
    return layered(*axes, *nulls, points)


def heat_map(rows: Source, neurons: Sequence[str], metrics: Sequence[str], largest: float) -> alt.Chart:
    """Draw r between neurons and metrics; `rows` have neuron, metric and r, and `largest` is the largest |r|."""
    chart: alt.Chart = (
        alt.Chart(source(rows))
        .mark_rect(cursor="pointer")
        .encode(
            x=alt.X("metric:N", sort=list(metrics), axis=alt.Axis(labelAngle=-90, grid=False)),
            y=alt.Y("neuron:N", sort=list(neurons), title=None, axis=alt.Axis(grid=False)),
            color=alt.Color("r:Q", scale=alt.Scale(scheme="blueorange", domain=[-largest, largest]), title="r"),
            tooltip=[alt.Tooltip("neuron:N"), alt.Tooltip("metric:N"), alt.Tooltip("r:Q", format=SIGNED)],
        )
        .properties(width=CELL * len(metrics), height=0.8 * CELL * len(neurons))
    )
    return chart


def overlap_map(rows: Source, metrics: Sequence[str], k: int) -> alt.LayerChart:
    """Draw how many of their top `k` neurons each pair of metrics shares; `rows` have first, second and neurons."""
    order = list(metrics)
    base = alt.Chart(source(rows)).encode(
        x=alt.X("second:N", sort=order, title=None, axis=alt.Axis(labelAngle=-90, grid=False)),
        y=alt.Y("first:N", sort=order, title=None, axis=alt.Axis(grid=False)),
        tooltip=[alt.Tooltip("first:N"), alt.Tooltip("second:N"), alt.Tooltip("neurons:Q", title="neurons shared")],
    )
    cells = base.mark_rect().encode(
        color=alt.Color("neurons:Q", scale=alt.Scale(scheme="cividis", domain=[0, k]), title="neurons")
    )
    text_colour = alt.condition(f"datum.neurons > {k / 2}", alt.value("black"), alt.value("white"))
    text = base.mark_text(fontSize=10).encode(text="neurons:Q", color=text_colour)
    side = 2 * CELL * len(order)
    chart: alt.LayerChart = layered(cells, text).properties(width=side, height=0.8 * side)
    return chart


def tuning_curve(rows: Source, loss: str) -> alt.Chart:
    """Draw losses by tuning step; `rows` have step, loss, split and prompt (a name)."""
    prompt = alt.Color("prompt:N", title=None, legend=LINES_LEGEND)
    split = alt.StrokeDash(
        "split:N", title=None, sort=["validation", "train"], legend=LINES_LEGEND,
        scale=alt.Scale(domain=["validation", "train"], range=[DASHES[0], DASHES[3]]),
    )  # fmt: skip
    chart: alt.Chart = (
        alt.Chart(source(rows))
        .mark_line(strokeWidth=1.4, point=alt.OverlayMarkDef(size=12, opacity=0.7))
        .encode(
            x=alt.X("step:Q", axis=alt.Axis(grid=False)),
            y=alt.Y("loss:Q", title=f"loss ({loss})", scale=alt.Scale(zero=False)),
            color=prompt,
            strokeDash=split,
            tooltip=["step:Q", "split:N", alt.Tooltip("loss:Q", format=".4f")],
        )
        .properties(width=380, height=200)
    )
    return chart
