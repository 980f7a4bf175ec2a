"""Distributions of a neuron's activation by group: figures 2, 3 and 5 of arXiv 2511.21610, for any run."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import numpy as np

from skilljobs.analysis.distributions import Group, Traces, density, level_names, lines, neuron_text
from skilljobs.report.charts import Figure, in_panels, labels, layered, shortened
from skilljobs.report.correlation_charts import Source, source
from skilljobs.report.themes import DASHES

PANELS = 12
"""The most panels in one figure of `by_metric`."""
MOST_GROUPS = 8
MOST_LEVELS, MOST_ROWS = 6, 6
"""The most columns and rows of panels in the figure of `within_groups`."""
LONGEST_GROUP = 36


@dataclass(frozen=True)
class Panel:
    """The groups of a neuron's activations, and what they are."""

    title: str
    subtitle: str
    groups: Sequence[Group]


def density_rows(groups: Sequence[Group]) -> list[dict[str, Any]]:
    """Return the rows of `density_chart`: the density of each group; of a group without one, lines at its values."""
    groups = [group for group in groups if len(group.activations)][:MOST_GROUPS]
    if not groups:
        return []
    grid, curves = density(groups)
    names = labels([group.label for group in groups], LONGEST_GROUP)
    rows: list[dict[str, Any]] = []
    for group, curve in zip(groups, curves, strict=True):
        name = f"{names[group.label]} (n={len(group.activations)})"
        if curve is None:
            rows += [{"group": name, "line": _rounded(activation)} for activation in lines(group)]
        else:
            points = zip(grid.tolist(), curve.tolist(), strict=True)
            rows += [{"group": name, "activation": _rounded(x), "density": _rounded(y)} for x, y in points]
    return rows


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


def density_chart(rows: Source) -> alt.LayerChart:
    """Draw densities; `rows` are those of `density_rows`."""
    base = alt.Chart(source(rows))
    legend = alt.Legend(orient="top", columns=1, offset=2, symbolType="stroke")
    group = {
        "color": alt.Color("group:N", sort=None, title=None, legend=legend),
        "strokeDash": alt.StrokeDash(
            "group:N", sort=None, title=None, legend=legend, scale=alt.Scale(range=list(DASHES))
        ),
    }
    tooltip = [
        alt.Tooltip("group:N"),
        alt.Tooltip("activation:Q", format=".3g"),
        alt.Tooltip("density:Q", format=".3g"),
    ]
    curves = base.mark_line(strokeWidth=1.5).encode(
        x=alt.X("activation:Q", axis=alt.Axis(tickCount=5, grid=False), scale=alt.Scale(zero=False, nice=False)),
        y=alt.Y("density:Q", axis=alt.Axis(tickCount=4), scale=alt.Scale(domainMin=0)),
        tooltip=tooltip,
        **group,
    )
    alone = base.mark_rule(strokeWidth=1.5).encode(
        x=alt.X("line:Q", title="activation"), tooltip=[alt.Tooltip("line:Q", title="activation")], **group
    )
    return layered(curves, alone)


def by_metric(traces: Traces, metrics: Sequence[str]) -> Iterator[Figure]:
    """Yield the top neuron of each metric, grouped by the values of that metric, a figure for every `PANELS` metrics.

    This is figure 2 where the metrics are skills. Metrics without a top neuron are left out.
    """
    panels = [panel for metric in metrics if (panel := metric_panel(traces, metric)) is not None]
    for start in range(0, len(panels), PANELS):
        name = "density" if start == 0 else f"density-{start // PANELS + 1}"
        yield Figure(
            name, _drawn(panels[start : start + PANELS]), "the top neuron of each metric, by the values of the metric."
        )


def metric_panel(traces: Traces, metric: str) -> Panel | None:
    """Return the top neuron of a metric, by the values of that metric; None if r is undefined for every neuron."""
    top = traces.top(metric)
    if top is None:
        return None
    return Panel(shortened(metric), _with_r(top), traces.by_metric(metric, _activations(traces, top)))


def group_panel(traces: Traces, column: str, metric: str) -> Panel | None:
    """Return the top neuron of `metric`, by the values of a grouping column (figure 3); None as for `metric_panel`."""
    top = traces.top(metric)
    if top is None:
        return None
    title = f"the top neuron of {shortened(metric)}, by {shortened(column)}"
    return Panel(title, _with_r(top), traces.by_column(column, _activations(traces, top)))


def within_panels(traces: Traces, column: str, metrics: Sequence[str]) -> list[list[Panel]]:
    """Return the top neuron of each 0/1 metric, by the metric, among the examples of each value of a column (figure 5).

    There is a row of panels for each metric that is both 0 and 1 within some value of the column.
    """
    names = np.array(level_names(traces.examples[column]), object)
    levels = sorted({name for name in names if name is not None})[:MOST_LEVELS]
    rows: list[list[Panel]] = []
    for metric in metrics:
        values = traces.values(metric)
        varies = any({0.0, 1.0} <= set(values[names == level]) for level in levels)
        if not varies or (top := traces.top(metric)) is None or len(rows) == MOST_ROWS:
            continue
        activations = _activations(traces, top)
        rows.append(
            [
                Panel(
                    f"{shortened(metric)} in {shortened(level, 20)}",
                    neuron_text(top),
                    traces.by_metric(metric, activations, names == level),
                )
                for level in levels
            ]
        )
    return rows


def _drawn(panels: Sequence[Panel], columns: int = 4) -> alt.TopLevelMixin:
    charts = []
    for panel in panels:
        rows = density_rows(panel.groups)
        chart = density_chart(rows) if rows else layered(_no_examples())
        charts.append(chart.properties(title=alt.Title(panel.title, subtitle=panel.subtitle)))
    return in_panels(charts, columns)


def _no_examples() -> alt.Chart:
    chart: alt.Chart = alt.Chart(source([{}])).mark_text(style="note", text="no examples")
    return chart


def group_figure(traces: Traces, name: str, column: str, metric: str) -> Figure | None:
    """Draw `group_panel`."""
    panel = group_panel(traces, column, metric)
    return None if panel is None else Figure(name, _drawn([panel]), f"by {column}.")


def within_figure(traces: Traces, name: str, column: str, metrics: Sequence[str]) -> Figure | None:
    """Draw `within_panels`; None if there are none."""
    rows = within_panels(traces, column, metrics)
    if not rows:
        return None
    panels = [panel for row in rows for panel in row]
    return Figure(name, _drawn(panels, len(rows[0])), f"the top neuron of each 0/1 metric, within each {column}.")


def _activations(traces: Traces, top: dict[str, Any]) -> Any:
    activations = traces.activations(top)
    assert activations is not None
    return activations


def _with_r(row: dict[str, Any]) -> str:
    return f"{neuron_text(row)}, r = {row['r']:+.2f}"
