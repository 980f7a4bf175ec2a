"""All figures of a run: which there are, and what they show."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import polars as pl
from matplotlib.figure import Figure

from skilljobs.analysis.distributions import Traces
from skilljobs.analysis.overlap import expected_overlap, overlap
from skilljobs.analysis.ranking import check_pair, check_reduced
from skilljobs.errors import InputError
from skilljobs.report import correlations, densities
from skilljobs.report.drawing import keep, styled
from skilljobs.stats.layout import ALL, NULL
from skilljobs.store.reader import RunReader
from skilljobs.store.run import ACTIVATIONS_NAME, TUNING_NAME

FIRST = ("confidence", "margin", "correct")
MOST_LEVELS = 12
"""A category with more levels is left out of the figures unless its metrics are named."""
MOST_METRICS = 36
OVERLAP_TOP = 100
OVERLAP_LEVELS = 3
"""Fewest levels of a category that have a figure of their overlap."""


@dataclass(frozen=True)
class Drawn:
    """A figure, kept as `figures/NAME.png` and `.svg`."""

    name: str
    caption: str


def draw_figures(run: RunReader, metrics: Sequence[str] = ()) -> list[Drawn]:
    """Draw the figures of a run into its folder. `metrics`: those to draw; none: the usual ones.

    Raises:
        InputError: the run has no correlations yet, or no such metric.
    """
    check_reduced(run)
    for metric in metrics:
        check_pair(run, metric, ALL)
        if metric.startswith(NULL):
            raise InputError(f"{metric!r} is a null metric: it has no figures of its own")
    chosen = list(dict.fromkeys(metrics)) or usual_metrics(run)
    with styled():
        return [Drawn(keep(figure, run.folder, name), caption) for name, figure, caption in _figures(run, chosen)]


def usual_metrics(run: RunReader) -> list[str]:
    """The model-derived metrics, then the external ones but those of categories of many levels, if others are left."""
    columns = run.examples().collect_schema().names()
    every = [metric for metric in run.layout().metrics if metric.kind != "null"]
    levels = Counter(m.name.partition("=")[0] for m in every if "=" in m.name and m.name not in columns)
    shown = [m for m in every if m.name in columns or levels[m.name.partition("=")[0]] <= MOST_LEVELS] or every
    names = [m.name for m in sorted(shown, key=lambda metric: metric.kind != "model")]
    first = [name for name in FIRST if name in names]
    return (first + [name for name in names if name not in first])[:MOST_METRICS]


def families(metrics: Sequence[str]) -> dict[str, list[str]]:
    """The metrics `NAME=...` by NAME, of which there are enough to compare."""
    found: dict[str, list[str]] = {}
    for metric in metrics:
        if "=" in metric:
            found.setdefault(metric.partition("=")[0], []).append(metric)
    return {name: levels for name, levels in found.items() if len(levels) >= OVERLAP_LEVELS}


def _figures(run: RunReader, metrics: list[str]) -> Iterator[tuple[str, Figure, str]]:
    if any(prompt.folder.exists(TUNING_NAME) for prompt in run.prompts()):
        yield "tuning", correlations.tuning_curve(run), "Did the prompt learn? Loss by step of tuning."
    for name, figure in _paged("histogram", correlations.histograms(run, metrics)):
        yield name, figure, "r of every neuron, with the threshold of the top 10 (red) and of the null (grey)."
    yield "layers", correlations.by_layer(run, metrics), "|r| by layer."
    if (heat := correlations.heat_map(run, metrics)) is not None:
        yield "heatmap", heat, "r of the top neurons of each metric with every metric."
    for family, levels in families(metrics).items():
        matrix, chance = overlap(run, levels, k=OVERLAP_TOP), expected_overlap(run, levels, k=OVERLAP_TOP)
        figure = correlations.overlap_map(matrix, OVERLAP_TOP, chance)
        yield f"overlap-{_safe(family)}", figure, f"Do the metrics {family}=... share their top neurons?"
    if not run.prompts()[0].folder.exists(ACTIVATIONS_NAME):
        return
    traces = Traces(run)
    if traces.examples.is_empty():
        return
    of = "Activations over examples of half 1" + (", of the first soft prompt" if len(run.prompts()) > 1 else "")
    for name, figure in _paged("density", densities.of_metrics(traces, metrics)):
        yield name, figure, f"{of}: of each metric its top neuron, by the values of the metric."
    of_group = "confidence" if "confidence" in metrics else metrics[0]
    bools = [name for name in metrics if traces.examples.schema.get(name) == pl.Boolean and "=" not in name]
    for column in run.record["groups"]:
        if (by_group := densities.by_group(traces, column, of_group)) is not None:
            yield f"by-{_safe(column)}", by_group, f"{of}, by {column}."
        if (within := densities.within_groups(traces, column, bools)) is not None:
            yield f"within-{_safe(column)}", within, f"{of}: of each 0/1 metric its top neuron, within each {column}."


def _paged(name: str, figures: Sequence[Figure]) -> Iterator[tuple[str, Figure]]:
    for page, figure in enumerate(figures, start=1):
        yield name if page == 1 else f"{name}-{page}", figure


def _safe(name: str) -> str:
    """A name that is a file's too."""
    return "".join(sign if sign.isalnum() or sign in "-_" else "-" for sign in name)
