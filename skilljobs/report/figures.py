"""All figures of a run: which ones are drawn, and their captions."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain

import polars as pl

from skilljobs.analysis.binning import binned
from skilljobs.analysis.distributions import Traces
from skilljobs.analysis.null_thresholds import NullThresholds
from skilljobs.analysis.ranking import check_pair, check_reduced
from skilljobs.errors import InputError
from skilljobs.hashing import stable_digest
from skilljobs.machine import available_cpus
from skilljobs.report import densities
from skilljobs.report.ablation_figures import ablation_figures
from skilljobs.report.charts import Figure, save_figure, unvalidated
from skilljobs.report.correlation_figures import by_layer, heat_map, histograms, overlap_figure, tuning_figure
from skilljobs.report.effect_figures import effect_figures
from skilljobs.report.shortcut_figures import shortcut_figures
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
OVERLAP_LEVELS = 3
"""The overlap of a category's levels is drawn if there are at least this many of them."""


FOLLOW_UPS: tuple[Callable[[RunReader], Iterator[Figure]], ...] = (
    ablation_figures,
    effect_figures,
    shortcut_figures,
)
"""What yields the figures of jobs on a finished run; plots and the page draw them where there are such files."""


def draw_figures(run: RunReader, metrics: Sequence[str] = ()) -> list[Figure]:
    """Draw the figures of a run and save them in its folder; metrics and errors as `figures_drawn`."""
    with figures_drawn(run, metrics) as drawn:
        return drawn


@contextmanager
def figures_drawn(run: RunReader, metrics: Sequence[str] = ()) -> Iterator[list[Figure]]:
    """Draw the figures of a run. Threads save them in its folder meanwhile, and are done when the block ends.

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
    drawn, saved = list[Figure](), list[Future[None]]()
    with ThreadPoolExecutor(available_cpus()) as threads, unvalidated():  # vl-convert works outside of Python's lock
        for figure in chain(_over_the_model(run, chosen), _over_examples(run, chosen), follow_ups(run)):
            drawn.append(figure)
            saved.append(threads.submit(save_figure, figure, run.folder))
        yield drawn
        for future in saved:
            future.result()


def follow_ups(run: RunReader) -> Iterator[Figure]:
    """Yield the figures of jobs on a finished run, such as ablations."""
    return chain.from_iterable(figures(run) for figures in FOLLOW_UPS)


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


def maps(run: RunReader, metrics: Sequence[str]) -> Iterator[Figure]:
    """Yield the figures that show several metrics together: neurons by metrics, and the overlap of their neurons."""
    if (heat := heat_map(run, metrics)) is not None:
        yield heat
    for family, levels in families(run, metrics).items():
        yield overlap_figure(run, f"overlap-{safe_name(family)}", family, levels)


def tuning(run: RunReader) -> Iterator[Figure]:
    """Yield the tuning curve, if a prompt was tuned."""
    if any(prompt.folder.exists(TUNING_NAME) for prompt in run.prompts()):
        yield tuning_figure(run)


def traces_of(run: RunReader) -> Traces | None:
    """Return the traced examples of a run; None if it has none."""
    if not run.prompts()[0].folder.exists(ACTIVATIONS_NAME):
        return None
    traces = Traces(run)
    return None if traces.examples.is_empty() else traces


def zero_one_metrics(run: RunReader, traces: Traces, metrics: Sequence[str]) -> list[str]:
    """Return those of `metrics` that are a column of yes and no."""
    whole_columns = {metric.name for metric in run.layout().metrics if metric.level is None}
    return [name for name in metrics if traces.examples.schema.get(name) == pl.Boolean and name in whole_columns]


def _over_the_model(run: RunReader, metrics: list[str]) -> Iterator[Figure]:
    yield from tuning(run)
    tables, thresholds = binned(run, metrics, [ALL]), NullThresholds(run)
    yield from histograms(run, metrics, tables, thresholds)
    yield by_layer(metrics, tables, thresholds)
    yield from maps(run, metrics)


def _over_examples(run: RunReader, metrics: list[str]) -> Iterator[Figure]:
    traces = traces_of(run)
    if traces is None:
        return
    group_metric = "confidence" if "confidence" in metrics else metrics[0]
    bools = zero_one_metrics(run, traces, metrics)
    figures: list[Figure | None] = list(densities.by_metric(traces, metrics))
    for column in run.record.groups:
        figures.append(densities.group_figure(traces, f"by-{safe_name(column)}", column, group_metric))
        figures.append(densities.within_figure(traces, f"within-{safe_name(column)}", column, bools))
    data = "Activations over examples of half 1" + (", for the first soft prompt" if len(run.prompts()) > 1 else "")
    for figure in figures:
        if figure is not None:
            separator = ", " if figure.caption.startswith("by ") else ": "
            yield replace(figure, caption=f"{data}{separator}{figure.caption}")


def safe_name(name: str) -> str:
    """Return a part of a file name: `name` if that can be one, otherwise what can be kept of it, and a hash of it."""
    kept = "".join(char if char.isalnum() or char in "-_" else "-" for char in name)[:LONGEST_NAME]
    return name if kept == name else f"{kept}-{stable_digest(name, size=4).hex()}"
