"""The top neurons of a metric. Reads a run; no Ray, no model."""

from typing import TYPE_CHECKING

import polars as pl

from skilljobs.errors import InputError
from skilljobs.stats.layout import ALL, NULL, WITHIN
from skilljobs.stats.null import family_wise_threshold

if TYPE_CHECKING:
    from skilljobs.api import Run

KEPT = 1000
"""Rows of each metric and population in `top.parquet`."""


def top(run: "Run", metric: str, population: str = ALL, k: int = 20, per_layer: bool = False) -> pl.DataFrame:
    """The `k` neurons of largest |r|, strongest first, with the columns of `correlations`; `per_layer`: of each layer.

    Neurons whose r is undefined are left out.

    Raises:
        InputError: the run has no such metric or population, or has no correlations yet.
    """
    check_reduced(run)
    check_metric(run, metric)
    populations = populations_of(run)
    if population not in populations:
        raise InputError(f"the run has no population {population!r}; it has {', '.join(populations)}")
    if metric.startswith(NULL) and population != ALL:
        raise InputError(f"null metrics are correlated over {ALL!r} only, not over {population!r}")
    of_pair = (pl.col("metric") == metric) & (pl.col("population") == population)
    if k <= KEPT and not per_layer:
        return run.strongest().filter(of_pair).head(k).collect()
    found = run.correlations().filter(of_pair, pl.col("r").is_not_null())
    ordered = found.sort(pl.col("r").abs(), "layer", "neuron", descending=[True, False, False]).collect()
    return (
        ordered.group_by("layer", maintain_order=True).head(k).sort("layer", maintain_order=True)
        if per_layer
        else ordered.head(k)
    )


def null_threshold(run: "Run") -> float | None:
    """The family-wise 95 % threshold of |r| over `all`, from the run's null metrics; None if it has none."""
    nulls = run.strongest().filter(pl.col("metric").str.starts_with(NULL), pl.col("population") == ALL)
    maxima = nulls.group_by("metric").agg(pl.col("r").abs().max()).collect()["r"]
    return family_wise_threshold(maxima.to_list())


def check_reduced(run: "Run") -> None:
    if run.record["stages"].get("reduce", {}).get("state") != "done":
        raise InputError(f"the run at {run.uri} has no correlations yet: submit it again to go on with it")


def check_metric(run: "Run", metric: str) -> None:
    metrics = run.metrics().collect()
    if metric not in metrics["metric"]:
        shown = metrics.filter(pl.col("kind") != "null")["metric"].to_list()
        raise InputError(f"the run has no metric {metric!r}; it has {', '.join(shown)}")


def populations_of(run: "Run") -> list[str]:
    """The populations of the run, in the order of their names in its record."""
    groups: dict[str, list[str]] = run.record["groups"]
    return [ALL, *(name for names in groups.values() for name in names), *(WITHIN + column for column in groups)]
