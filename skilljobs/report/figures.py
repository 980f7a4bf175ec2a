"""All figures of a run: which ones are drawn, and their captions."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import polars as pl
from matplotlib.figure import Figure

from skilljobs.analysis.distributions import Traces
from skilljobs.analysis.overlap import expected_overlap, overlap
from skilljobs.analysis.ranking import check_pair, check_reduced
from skilljobs.errors import InputError
from skilljobs.hashing import stable_digest
from skilljobs.report import correlation_figures, densities
from skilljobs.report.ablation_figures import draw_ablations
from skilljobs.report.drawing import figure_style, save
from skilljobs.stats.layout import ALL, NULL
from skilljobs.store.reader import RunReader
from skilljobs.store.run import ACTIVATIONS_NAME, TUNING_NAME

FIRST = ("confidence", "margin", "correct")
"""Metrics that come before all others."""
MOST_LEVELS = 12
"""A category with more levels than this is left out of the figures unless its metrics are named."""
MOST_METRICS = 36
LONGEST_NAME = 60
"""Characters of a column's name in the name of a file."""
OVERLAP_TOP = 100
"""Rank down to which the overlap of top neurons is counted."""
OVERLAP_LEVELS = 3
"""The overlap of a category's levels is drawn if there are at least this many of them."""


@dataclass(frozen=True)
class SavedFigure:
    """A figure that has been saved as `figures/NAME.png` and `figures/NAME.svg`."""

    name: str
    caption: str


def draw_figures(run: RunReader, metrics: Sequence[str] = ()) -> list[SavedFigure]:
    """Draw the figures of a run and save them in its folder.

    Without `metrics`, those of `usual_metrics` are drawn.

    Raises:
        InputError: the run has no correlations yet, it has no such metric, or a metric is a null metric.
    """
    check_reduced(run)
    for metric in metrics:
        check_pair(run, metric, ALL)
        if metric.startswith(NULL):
            raise InputError(f"{metric!r} is a null metric, and null metrics have no figures of their own")
    chosen = list(dict.fromkeys(metrics)) or usual_metrics(run)
    with figure_style():
        saved = [
            SavedFigure(save(figure, run.folder, name), caption) for name, figure, caption in _figures(run, chosen)
        ]
    return saved + [SavedFigure(name, caption) for name, caption in draw_ablations(run)]


def usual_metrics(run: RunReader) -> list[str]:
    """Return the metrics that are drawn by default: the model-derived ones, then the external ones.

    The levels of a category with more than `MOST_LEVELS` levels are left out unless no other metric remains. At most
    `MOST_METRICS` metrics are returned.
    """
    columns = run.examples().collect_schema().names()
    every = [metric for metric in run.layout().metrics if metric.kind != "null"]
    levels = Counter(m.column for m in every if m.level is not None and m.name not in columns)
    kept = [m for m in every if m.name in columns or levels[m.column] <= MOST_LEVELS] or every
    names = [m.name for m in sorted(kept, key=lambda metric: metric.kind != "model")]
    first = [name for name in FIRST if name in names]
    return (first + [name for name in names if name not in first])[:MOST_METRICS]


def families(run: RunReader, metrics: Sequence[str]) -> dict[str, list[str]]:
    """Return those of `metrics` that are levels of a column, by column, if there are at least `OVERLAP_LEVELS`."""
    levels_by_column = {
        column: [metric.name for metric in levels if metric.name in metrics]
        for column, levels in run.layout().metrics_by_column.items()
    }
    return {column: levels for column, levels in levels_by_column.items() if len(levels) >= OVERLAP_LEVELS}


def _figures(run: RunReader, metrics: list[str]) -> Iterator[tuple[str, Figure, str]]:
    if any(prompt.folder.exists(TUNING_NAME) for prompt in run.prompts()):
        yield "tuning", correlation_figures.tuning_curve(run), "Did the prompt learn? The loss by tuning step."
    for name, figure in _paged("histogram", correlation_figures.histograms(run, metrics)):
        yield name, figure, "r of every neuron, with the top-10 threshold (red) and the null threshold (grey)."
    yield "layers", correlation_figures.by_layer(run, metrics), "The distribution of |r| by layer."
    if (heat := correlation_figures.heat_map(run, metrics)) is not None:
        yield "heatmap", heat, "r between the top neurons of each metric and every metric."
    for family, levels in families(run, metrics).items():
        matrix, chance = overlap(run, levels, k=OVERLAP_TOP), expected_overlap(run, levels, k=OVERLAP_TOP)
        figure = correlation_figures.overlap_map(matrix, OVERLAP_TOP, chance)
        yield f"overlap-{_safe(family)}", figure, f"Do the metrics {family}=... share their top neurons?"
    if not run.prompts()[0].folder.exists(ACTIVATIONS_NAME):
        return
    traces = Traces(run)
    if traces.examples.is_empty():
        return
    data = "Activations over examples of half 1" + (", for the first soft prompt" if len(run.prompts()) > 1 else "")
    for name, figure in _paged("density", densities.by_metric(traces, metrics)):
        yield name, figure, f"{data}: the top neuron of each metric, by the values of the metric."
    group_metric = "confidence" if "confidence" in metrics else metrics[0]
    whole_columns = {metric.name for metric in run.layout().metrics if metric.level is None}
    bools = [name for name in metrics if traces.examples.schema.get(name) == pl.Boolean and name in whole_columns]
    for column in run.record.groups:
        if (by_group := densities.by_group(traces, column, group_metric)) is not None:
            yield f"by-{_safe(column)}", by_group, f"{data}, by {column}."
        if (within := densities.within_groups(traces, column, bools)) is not None:
            yield f"within-{_safe(column)}", within, f"{data}: the top neuron of each 0/1 metric, within each {column}."


def _paged(name: str, figures: Sequence[Figure]) -> Iterator[tuple[str, Figure]]:
    for page, figure in enumerate(figures, start=1):
        yield name if page == 1 else f"{name}-{page}", figure


def _safe(name: str) -> str:
    """Return a part of a file name: `name` if that can be one, otherwise what can be kept of it, and a hash of it."""
    kept = "".join(char if char.isalnum() or char in "-_" else "-" for char in name)[:LONGEST_NAME]
    return name if kept == name else f"{kept}-{stable_digest(name, size=4).hex()}"
