"""What may mislead in a run's metrics, in sentences."""

import polars as pl

from skilljobs.printable import counted
from skilljobs.stats.layout import ALL
from skilljobs.stats.metric_traps import NearPair, RareKind, near_pairs, rare_kind
from skilljobs.stats.totals import Moments
from skilljobs.store.reader import RunReader

PAIRS_SHOWN = 3
"""Pairs of metrics that are nearly the same, of which each has a sentence; the report has more."""


def traps(
    run: RunReader, moments: Moments, metric: str | None = None, population: str = ALL, most_pairs: int = PAIRS_SHOWN
) -> list[str]:
    """Return what may mislead in all metrics over `all`, or in `metric` over `population`.

    Of the pairs of metrics that are nearly the same, the `most_pairs` strongest have a sentence.
    """
    layout = run.layout()
    kinds = {known.name: known.kind for known in layout.metrics}
    names = [name for name, kind in kinds.items() if kind != "null"] if metric is None else [metric]
    rare = [kind.sentence for name in names if (kind := rare_kind_in(run, moments, name, population)) is not None]
    pairs = [
        pair for pair in nearly_same(run, moments, population) if metric is None or metric in (pair.first, pair.second)
    ]
    shown = [pair.sentence for pair in pairs[:most_pairs]]
    if len(pairs) > most_pairs:
        shown.append(f"{counted(len(pairs) - most_pairs, 'more pair')} of metrics say nearly the same")
    return [*rare, *shown]


def rare_kind_in(run: RunReader, moments: Moments, metric: str, population: str = ALL) -> RareKind | None:
    """Return how few examples of its rarer kind a yes/no metric has in `population`; None if they suffice."""
    layout = run.layout()
    if next(known.kind for known in layout.metrics if known.name == metric) == "null":
        return None
    if run.metrics().collect().row(by_predicate=pl.col("metric") == metric, named=True)["reference"] != 0:
        return None
    counts = moments.yes_no_counts(layout, metric, population)
    return rare_kind(metric, counts) if counts else None


def nearly_same(run: RunReader, moments: Moments, population: str = ALL) -> list[NearPair]:
    """Return each pair of metrics that are nearly the same over `population`, or over `all` for a pooled one."""
    summed = population if population in run.layout().populations else ALL
    return near_pairs(run.layout().metrics, lambda first, second: moments.r(summed, first, second))
