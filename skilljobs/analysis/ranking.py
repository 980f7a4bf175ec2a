"""The top neurons of a metric. Reads a run; no Ray, no model."""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from skilljobs.reduce.partial_correlations import partial_correlations
from skilljobs.errors import InputError
from skilljobs.stats.layout import ALL, NULL, NULL_SKEWED
from skilljobs.stats.null import SKEWED, family_wise_threshold, is_skewed
from skilljobs.store.reader import RunReader
from skilljobs.store.run import TOP_ROWS


def top(
    run: RunReader, metric: str, population: str = ALL, k: int = 20, given: Sequence[str] = (), per_layer: bool = False
) -> pl.DataFrame:
    """The `k` neurons of largest |r|, strongest first, with the columns of `correlations`; `per_layer`: of each layer.

    With `given`, r is the partial correlation that is left when these metrics are held fixed. Neurons whose r is
    undefined are left out.

    Raises:
        InputError: the run has no such metric or population, has no correlations yet, or cannot hold `given` fixed.
    """
    check_reduced(run)
    check_pair(run, metric, population)
    if given:
        found = partial_correlations(run, metric, population, given).lazy()
    else:
        of_pair = (pl.col("metric") == metric) & (pl.col("population") == population)
        if k <= TOP_ROWS and not per_layer:
            return run.strongest().filter(of_pair).head(k).collect()
        found = run.correlations().filter(of_pair)
    order = [pl.col("r").abs(), pl.col("layer"), pl.col("token"), pl.col("neuron")]
    ordered = found.filter(pl.col("r").is_not_null()).sort(order, descending=[True, False, False, False]).collect()
    if not per_layer:
        return ordered.head(k)
    return ordered.group_by("layer", maintain_order=True).head(k).sort("layer", maintain_order=True)


@dataclass(frozen=True)
class NullThreshold:
    """The |r| that null metrics reach somewhere in the model, over `n` examples of `all`."""

    r: float
    n: int
    draws: int
    too_low: bool
    """Whether the metric is more skewed than the null metrics, so that chance exceeds the threshold more often."""

    @property
    def level(self) -> float:
        """The probability that a further null metric exceeds it."""
        return max(0.05, 1 / (self.draws + 1))


def null_threshold(run: RunReader, metric: str) -> NullThreshold | None:
    """The family-wise threshold of |r| with `metric` over `all`; None if the run has no null metrics.

    For a skewed metric it is that of the skewed null metrics, where the run has them.
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
    skewness = run.record["skewness"]
    own = skewness.get(metric, 0.0)
    family = skewed if is_skewed(own) and len(skewed) else signs
    threshold = family_wise_threshold(family["r"].to_list())
    if threshold is None:
        return None
    reached = abs(skewness[NULL_SKEWED]) if family is skewed else SKEWED
    return NullThreshold(threshold, family["n"][0], len(family), too_low=abs(own) > 1.25 * reached)


def threshold_that_applies(run: RunReader, metric: str, n: int) -> NullThreshold | None:
    """The null threshold, if the metric's correlations are over as many examples as the null's; else None."""
    threshold = null_threshold(run, metric)
    return threshold if threshold is not None and threshold.n == n else None


def check_reduced(run: RunReader) -> None:
    if run.record["stages"].get("reduce", {}).get("state") != "done":
        raise InputError(f"the run at {run.uri} has no correlations yet: submit it again to go on with it")


def check_pair(run: RunReader, metric: str, population: str) -> None:
    layout = run.layout()
    metrics = {m.name: m.kind for m in layout.metrics}
    if metric not in metrics:
        shown = ", ".join(name for name, kind in metrics.items() if kind != "null")
        raise InputError(f"the run has no metric {metric!r}; it has {shown}")
    if population not in layout.reported_populations:
        raise InputError(f"the run has no population {population!r}; it has {', '.join(layout.reported_populations)}")
    if metrics[metric] == "null" and population != ALL:
        raise InputError(f"null metrics are correlated over {ALL!r} only, not over {population!r}")
