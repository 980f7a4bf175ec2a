"""The top neurons of a metric, read from a finished run without Ray or the model."""

from collections.abc import Sequence

import polars as pl

from skilljobs.errors import InputError
from skilljobs.reduce.partial_correlations import partial_correlations
from skilljobs.reduce.shard_sums import read_moments
from skilljobs.stats.layout import ALL
from skilljobs.stats.predictivity import PREDICTIVITY
from skilljobs.store.reader import RunReader
from skilljobs.store.run import TOP_ROWS
from skilljobs.store.schema import NEURON_KEY
from skilljobs.suggestions import did_you_mean, shortened

SORTABLE = ("r", PREDICTIVITY)
"""The columns of `correlations` that neurons can be ranked by."""
EFFECT = "effect"
"""The column of `effects.parquet` that they can be ranked by."""


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


def _check_sortable(run: RunReader, sort: str, given: Sequence[str]) -> None:
    if sort not in SORTABLE:
        raise InputError(f"neurons cannot be sorted by {sort!r}: choose one of {', '.join((*SORTABLE, EFFECT))}")
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
    run.require("correlations")


def check_population(run: RunReader, population: str) -> None:
    """Check that a run has the population.

    Raises:
        InputError: it has others.
    """
    populations = run.layout().reported_populations
    if population not in populations:
        raise InputError(
            f"the run has no population {population!r}{did_you_mean(population, populations)}; it has"
            f" {shortened(populations)}"
        )


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
    check_population(run, population)
    if metrics[metric] == "null" and population != ALL:
        raise InputError(f"null metrics are correlated over {ALL!r} only, not over {population!r}")
    if metrics[metric] == "null" and run.strongest().filter(pl.col("metric") == metric).limit(1).collect().is_empty():
        raise InputError(
            f"{metric!r} is a null metric, of which the run keeps the largest |r| alone (null_maxima.parquet); one with"
            " --keep-null keeps all"
        )
