"""Analyses of several metrics together, which show whether skills share neurons."""

from collections.abc import Sequence
from contextlib import suppress

import numpy as np
import polars as pl

from skilljobs.analysis.ranking import check_pair, check_reduced
from skilljobs.errors import InputError
from skilljobs.reduce.partial_correlations import several_partial_correlations
from skilljobs.stats.layout import ALL
from skilljobs.store.reader import RunReader
from skilljobs.store.run import TOP_ROWS
from skilljobs.store.schema import NEURON_KEY


def level_metrics(run: RunReader, name: str) -> list[str]:
    """Return the metrics called `name=...`, which are the levels of a category or the skills of `asked`.

    Raises:
        InputError: the run has fewer than two such metrics.
    """
    by_column = run.layout().metrics_by_column
    levels = [metric.name for metric in by_column.get(name, ())]
    if len(levels) < 2:
        families = sorted(column for column, metrics in by_column.items() if len(metrics) > 1)
        raise InputError(
            f"the run has no category or set of skills {name!r} (metrics {name}=...);"
            f" it has {', '.join(families) or 'none'}"
        )
    return levels


def overlap(run: RunReader, metrics: Sequence[str], population: str = ALL, k: int = 100) -> pl.DataFrame:
    """Return how many of their `k` neurons of largest |r| each pair of metrics shares.

    The frame has a row for each metric, and the column `metric` followed by a column named after each metric. By
    chance, two metrics share k squared over the number of neurons.

    Raises:
        InputError: the run has no correlations yet or no such metric or population, or `k` exceeds the number of rows
            that `top.parquet` keeps for each metric.
    """
    check_reduced(run)
    if k > TOP_ROWS:
        raise InputError(f"-k {k}: the overlap is known only for the {TOP_ROWS} strongest neurons of each metric")
    for metric in metrics:
        check_pair(run, metric, population)
    strongest = run.strongest().filter(pl.col("population") == population, pl.col("metric").is_in(metrics)).collect()
    tops = [
        set(strongest.filter(pl.col("metric") == metric).head(k).select(NEURON_KEY).iter_rows()) for metric in metrics
    ]
    counts = np.array([[len(first & second) for second in tops] for first in tops])
    return pl.DataFrame({"metric": list(metrics)} | {name: counts[:, column] for column, name in enumerate(metrics)})


def expected_overlap(run: RunReader, metrics: Sequence[str], population: str = ALL, k: int = 100) -> float:
    """Return how many of their `k` strongest neurons two metrics share by chance, if each drew its own at random."""
    selected = (pl.col("metric") == metrics[0]) & (pl.col("population") == population)
    neurons = run.correlations().filter(selected).select(pl.len()).collect().item()
    ranked = run.strongest().filter(selected).head(k).select(pl.len()).collect().item()
    return float(ranked * ranked / neurons)


def are_levels_of_one_category(run: RunReader, metrics: Sequence[str]) -> bool:
    """Return whether `metrics` are one-hot levels of one column.

    No correlation is left with such a metric when all the others are held fixed.
    """
    stored = run.examples().collect_schema().names()
    known = [metric for metric in run.layout().metrics if metric.name in metrics and metric.name not in stored]
    columns = {metric.column for metric in known}
    return len(known) == len(set(metrics)) and len(columns) == 1 and None not in columns


def correlations_given_others(
    run: RunReader, metrics: Sequence[str], population: str = ALL, k: int = 5
) -> pl.DataFrame:
    """Return the `k` neurons of largest |r| of each metric, with the partial r given the other metrics.

    Columns: metric, layer, token, expert, neuron, n, r, r_given_others, p_given_others. The last two are null if the
    metrics have values for different examples, or if they are the levels of one category.

    Raises:
        InputError: the run has no correlations yet.
    """
    check_reduced(run)
    given = {metric: [name for name in metrics if name != metric] for metric in metrics}
    partials: dict[str, pl.DataFrame] = {}
    if not are_levels_of_one_category(run, metrics):
        with suppress(InputError):
            partials = several_partial_correlations(run, given, population)
    frames = []
    for metric in metrics:
        selected = (pl.col("population") == population) & (pl.col("metric") == metric)
        top = run.strongest().filter(selected).head(k).select("metric", *NEURON_KEY, "n", "r").collect()
        if metric in partials:
            partial = partials[metric].select(*NEURON_KEY, r_given_others="r", p_given_others="p")
            top = top.join(partial, on=NEURON_KEY, how="left", nulls_equal=True, maintain_order="left")
        else:
            missing = pl.lit(None, pl.Float64)
            top = top.with_columns(r_given_others=missing, p_given_others=missing)
        frames.append(top)
    return pl.concat(frames)
