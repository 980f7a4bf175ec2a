"""Several metrics at once: do the skills share neurons?"""

from collections.abc import Sequence
from contextlib import suppress

import numpy as np
import polars as pl

from skilljobs.reduce.partial_correlations import several_partial_correlations
from skilljobs.analysis.ranking import check_pair, check_reduced
from skilljobs.errors import InputError
from skilljobs.stats.layout import ALL
from skilljobs.store.reader import RunReader
from skilljobs.store.run import TOP_ROWS


def level_metrics(run: RunReader, name: str) -> list[str]:
    """The metrics `name=...`: the levels of a category, or the skills of `asked`.

    Raises:
        InputError: there are fewer than two.
    """
    found = [m.name for m in run.layout().metrics if m.kind != "null" and m.name.startswith(f"{name}=")]
    if len(found) < 2:
        families = sorted({m.name.partition("=")[0] for m in run.layout().metrics if "=" in m.name})
        raise InputError(f"the run has no metrics {name}=...; it has such of {', '.join(families) or 'nothing'}")
    return found


def overlap(run: RunReader, metrics: Sequence[str], population: str = ALL, k: int = 100) -> pl.DataFrame:
    """How many of the `k` neurons of largest |r| two metrics share: a row and a column (named by it) for each metric.

    By chance two metrics share k squared over the number of neurons.

    Raises:
        InputError: the run has no such metric or population, or `k` is above the rows of `top.parquet`.
    """
    check_reduced(run)
    if k > TOP_ROWS:
        raise InputError(f"-k {k}: the overlap is known of the {TOP_ROWS} strongest neurons of a metric")
    for metric in metrics:
        check_pair(run, metric, population)
    strongest = run.strongest().filter(pl.col("population") == population, pl.col("metric").is_in(metrics)).collect()
    tops = [
        set(strongest.filter(pl.col("metric") == metric).head(k).select("layer", "token", "neuron").iter_rows())
        for metric in metrics
    ]
    counts = np.array([[len(one & other) for other in tops] for one in tops])
    return pl.DataFrame({"metric": list(metrics)} | {name: counts[:, place] for place, name in enumerate(metrics)})


def expected_overlap(run: RunReader, metrics: Sequence[str], population: str = ALL, k: int = 100) -> float:
    """How many of their `k` strongest neurons two of `metrics` share by chance: as if each had drawn its own."""
    of_pair = (pl.col("metric") == metrics[0]) & (pl.col("population") == population)
    places = run.correlations().filter(of_pair).select(pl.len()).collect().item()
    ranked = run.strongest().filter(of_pair).head(k).select(pl.len()).collect().item()
    return float(ranked * ranked / places)


def levels_of_a_category(run: RunReader, metrics: Sequence[str]) -> bool:
    """Whether `metrics` are one-hot levels of one column: held fixed together they leave nothing of each other."""
    columns = run.examples().collect_schema().names()
    return len({metric.partition("=")[0] for metric in metrics}) == 1 and not any(m in columns for m in metrics)


def beside_the_others(run: RunReader, metrics: Sequence[str], population: str = ALL, k: int = 5) -> pl.DataFrame:
    """Of each metric the `k` neurons of largest |r|, with the r that is left when the other metrics are held fixed.

    Columns: metric, layer, token, neuron, n, r, r_given_others, p_given_others. The last two are null where the metrics
    have values for different examples, or are the levels of one category.
    """
    check_reduced(run)
    key = ["layer", "token", "neuron"]
    given = {metric: [name for name in metrics if name != metric] for metric in metrics}
    partials: dict[str, pl.DataFrame] = {}
    if not levels_of_a_category(run, metrics):
        with suppress(InputError):
            partials = several_partial_correlations(run, given, population)
    frames = []
    for metric in metrics:
        of_pair = (pl.col("population") == population) & (pl.col("metric") == metric)
        top = run.strongest().filter(of_pair).head(k).select("metric", *key, "n", "r").collect()
        if metric in partials:
            left = partials[metric].select(*key, r_given_others="r", p_given_others="p")
            top = top.join(left, on=key, how="left", nulls_equal=True, maintain_order="left")
        else:
            nothing = pl.lit(None, pl.Float64)
            top = top.with_columns(r_given_others=nothing, p_given_others=nothing)
        frames.append(top)
    return pl.concat(frames)
