"""The top neurons of a metric, read from a finished run without Ray or the model."""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from skilljobs.errors import InputError
from skilljobs.reduce.partial_correlations import partial_correlations
from skilljobs.reduce.shard_sums import read_moments
from skilljobs.stats.layout import ALL, NULL, NULL_SKEWED
from skilljobs.stats.null import SKEWED, family_wise_threshold, is_skewed
from skilljobs.stats.predictivity import PREDICTIVITY
from skilljobs.store.reader import RunReader
from skilljobs.store.run import TOP_ROWS
from skilljobs.store.schema import NEURON_KEY
from skilljobs.suggestions import did_you_mean, shortened

SORTABLE = ("r", PREDICTIVITY)
"""What neurons can be ranked by."""


def top(
    run: RunReader,
    metric: str,
    population: str = ALL,
    k: int = 20,
    given: Sequence[str] = (),
    per_layer: bool = False,
    sort: str = "r",
) -> pl.DataFrame:
    """Return the `k` neurons of largest |r|, strongest first, with the columns of `correlations`.

    With `sort`, a column of `correlations`, those of the largest value there, and those without one are left out.

    With `given`, r is the partial correlation with these metrics held fixed. With `per_layer`, the `k` strongest
    neurons of each layer are returned, layer by layer. Neurons whose r is undefined are left out.

    Raises:
        InputError: the run has no such metric or population, has no correlations yet, cannot hold `given` fixed, or has
            nothing to sort by.
    """
    check_reduced(run)
    check_pair(run, metric, population)
    if sort != "r":
        _check_sortable(run, sort, given)
    if given:
        rows = partial_correlations(run, metric, population, given).lazy()
    else:
        selected = (pl.col("metric") == metric) & (pl.col("population") == population)
        if k <= TOP_ROWS and not per_layer and sort == "r":
            return run.strongest().filter(selected).head(k).collect()
        rows = run.correlations().filter(selected)
    order = [pl.col(sort).abs(), *map(pl.col, NEURON_KEY)]
    ordered = (
        rows.filter(pl.col(sort).is_not_null()).sort(order, descending=[True] + [False] * len(NEURON_KEY)).collect()
    )
    if not per_layer:
        return ordered.head(k)
    return ordered.group_by("layer", maintain_order=True).head(k).sort("layer", maintain_order=True)


@dataclass(frozen=True)
class NullThreshold:
    """The |r| that null metrics reach somewhere in the model, over the population `all`."""

    r: float
    n: int
    """Examples that the null metrics are correlated over."""
    draws: int
    """Null metrics that the threshold is estimated from."""
    too_low: bool
    """Whether the metric is more skewed than the null metrics and so exceeds the threshold by chance more often."""

    @property
    def level(self) -> float:
        """The probability that another null metric exceeds the threshold."""
        return max(0.05, 1 / (self.draws + 1))


def null_threshold(run: RunReader, metric: str) -> NullThreshold | None:
    """Return the family-wise threshold of |r| with `metric` over `all`, or None if the run has no null metrics.

    For a skewed metric, the threshold is that of the skewed null metrics if the run has them.
    """
    maxima = (
        run.strongest()
        .filter(pl.col("metric").str.starts_with(NULL), pl.col("population") == ALL)
        .group_by("metric")
        .agg(pl.col("r").abs().max(), pl.col("n").first())
        .collect()
    )
    from_skewed = pl.col("metric").str.starts_with(NULL_SKEWED)
    signs, skewed = maxima.filter(~from_skewed), maxima.filter(from_skewed)
    skewness = run.record.skewness or {}
    metric_skewness = skewness.get(metric, 0.0)
    family = skewed if is_skewed(metric_skewness) and len(skewed) else signs
    threshold = family_wise_threshold(family["r"].to_list())
    if threshold is None:
        return None
    family_skewness = abs(skewness[NULL_SKEWED]) if family is skewed else SKEWED
    too_low = abs(metric_skewness) > 1.25 * family_skewness
    return NullThreshold(threshold, family["n"][0], len(family), too_low)


def applicable_threshold(run: RunReader, metric: str, n: int) -> NullThreshold | None:
    """Return the null threshold of `metric`, or None if it does not apply to correlations over `n` examples.

    It applies if the null metrics are correlated over the same number of examples.
    """
    threshold = null_threshold(run, metric)
    return threshold if threshold is not None and threshold.n == n else None


def _check_sortable(run: RunReader, sort: str, given: Sequence[str]) -> None:
    if sort not in SORTABLE:
        raise InputError(f"neurons cannot be sorted by {sort!r}: choose one of {', '.join(SORTABLE)}")
    if given:
        raise InputError(f"--given holds metrics fixed in r, and --sort {sort} is not about r: leave one of them out")
    if sort not in run.correlations().collect_schema():
        raise InputError(f"the run at {run.uri} has no {sort}: submit it with --statistic {sort}")


def predictivity_of_majority(run: RunReader, metric: str, population: str) -> float | None:
    """Return the predictivity of always giving the more frequent answer, over half 1; None if that is empty.

    It is what the predictivity of a neuron must be compared with.
    """
    moments = read_moments(run.prompts()[0].folder, run.record.halves[1])
    if moments is None:
        return None
    pairs = [moments.pair(member, metric, metric) for member in run.layout().members_of(population)]
    n, yes = sum(pair[0] for pair in pairs), sum(pair[1] for pair in pairs)
    return abs(yes / n - 0.5) if n else None


def check_reduced(run: RunReader) -> None:
    """Check that a run has its correlations.

    Raises:
        InputError: the run has no correlations yet.
    """
    if not run.record.is_done("reduce"):
        raise InputError(f"the run at {run.uri} has no correlations yet: submit it again to resume it")


def check_pair(run: RunReader, metric: str, population: str) -> None:
    """Check that a run has correlations with `metric` over `population`.

    Raises:
        InputError: the run has no such metric or population, or `metric` is a null metric and `population` is not
            `all`.
    """
    layout = run.layout()
    metrics = {m.name: m.kind for m in layout.metrics}
    if metric not in metrics:
        known = [name for name, kind in metrics.items() if kind != "null"]
        levels = [m.name for m in layout.metrics_from(metric)]
        if levels:
            raise InputError(f"the column {metric!r} is a metric for each of its values: choose {shortened(levels)}")
        raise InputError(f"the run has no metric {metric!r}{did_you_mean(metric, known)}; it has {shortened(known)}")
    populations = layout.reported_populations
    if population not in populations:
        raise InputError(
            f"the run has no population {population!r}{did_you_mean(population, populations)}; it has"
            f" {shortened(populations)}"
        )
    if metrics[metric] == "null" and population != ALL:
        raise InputError(f"null metrics are correlated over {ALL!r} only, not over {population!r}")
