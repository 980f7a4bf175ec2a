"""Distributions of a neuron's activation by group: figures 2, 3 and 5 of arXiv 2511.21610, for any run."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from skilljobs.analysis.distributions import Group, Traces, density, level_names, lines, neuron_text
from skilljobs.report.drawing import LINES, PALETTE, fitted_panel, legend_above, panels, shortened

PANELS = 12
"""The most panels in one figure of `by_metric`."""
MOST_GROUPS = 8
MOST_LEVELS, MOST_ROWS = 6, 6
"""The most columns and rows of panels in the figure of `within_groups`."""


def draw_density(axes: Axes, groups: Sequence[Group]) -> None:
    """Draw the density of each group, with n in the legend; of a group without one, lines at its values."""
    groups = [group for group in groups if len(group.activations)][:MOST_GROUPS]
    axes.set_xlabel("activation")
    axes.set_ylabel("density")
    if not groups:
        axes.text(0.5, 0.5, "no examples", transform=axes.transAxes, ha="center")
        return
    grid, curves = density(groups)
    for index, (group, curve) in enumerate(zip(groups, curves, strict=True)):
        colour, line = PALETTE[index % len(PALETTE)], LINES[index % len(LINES)]
        label = f"{shortened(group.label, 36)} (n={len(group.activations)})"
        if curve is None:
            for place, activation in enumerate(lines(group)):
                axes.axvline(activation, color=colour, linestyle=line, label=label if place == 0 else None)
        else:
            axes.plot(grid, curve, color=colour, linestyle=line, linewidth=1.3, label=label)
            axes.fill_between(grid, curve, color=colour, alpha=0.10, linewidth=0)
    axes.set_ylim(bottom=0)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(5))
    legend_above(axes, len(groups))


def by_metric(traces: Traces, metrics: Sequence[str]) -> list[Figure]:
    """Draw the top neuron of each metric, grouped by the values of that metric.

    This is figure 2 where the metrics are skills. Metrics without a top neuron are left out. Returns one figure for
    every `PANELS` metrics.
    """
    drawn = [(metric, top) for metric in metrics if (top := traces.top(metric)) is not None]
    pages = [drawn[start : start + PANELS] for start in range(0, len(drawn), PANELS)]
    figures = []
    for page in pages:
        figure, axes = panels(len(page))
        for panel, (metric, top) in zip(axes, page, strict=True):
            activations = traces.activations(top)
            assert activations is not None
            draw_density(panel, traces.by_metric(metric, activations))
            panel.set_title(f"{shortened(metric)}\n{_with_r(top)}")
        figures.append(figure)
    return figures


def by_group(traces: Traces, column: str, metric: str) -> Figure | None:
    """Draw the top neuron of `metric`, grouped by the values of a grouping column (figure 3).

    Returns None if r with `metric` is undefined for every neuron.
    """
    top = traces.top(metric)
    if top is None:
        return None
    figure, axes = fitted_panel(4.5, 3.0)
    activations = traces.activations(top)
    assert activations is not None
    draw_density(axes, traces.by_column(column, activations))
    axes.set_title(f"the top neuron of {shortened(metric)}, by {shortened(column)}\n{_with_r(top)}")
    return figure


def within_groups(traces: Traces, column: str, metrics: Sequence[str]) -> Figure | None:
    """Draw the top neuron of each 0/1 metric, grouped by the metric, among the examples of each value of a column.

    This is figure 5. There is a row of panels for each metric that is both 0 and 1 within some value of the column.
    Returns None if there is no such metric.
    """
    names = np.array(level_names(traces.examples[column]), object)
    levels = sorted({name for name in names if name is not None})[:MOST_LEVELS]
    rows = []
    for metric in metrics:
        values = traces.values(metric)
        varies = any({0.0, 1.0} <= set(values[names == level]) for level in levels)
        if varies and (top := traces.top(metric)) is not None:
            rows.append((metric, top))
    rows = rows[:MOST_ROWS]
    if not rows:
        return None
    figure, axes = panels(len(rows) * len(levels), columns=len(levels))
    for index, panel in enumerate(axes):
        row, level = divmod(index, len(levels))
        metric, top = rows[row]
        activations = traces.activations(top)
        assert activations is not None
        draw_density(panel, traces.by_metric(metric, activations, names == levels[level]))
        panel.set_title(f"{shortened(metric)} in {shortened(levels[level], 20)}\n{neuron_text(top)}")
    return figure


def _with_r(row: dict[str, Any]) -> str:
    return f"{neuron_text(row)}, r = {row['r']:+.2f}"
