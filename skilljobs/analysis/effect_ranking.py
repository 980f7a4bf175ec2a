"""The neurons of largest estimated effect, with what chance alone reaches, and their r beside it."""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from skilljobs.analysis.ranking import EFFECT, check_pair, check_reduced
from skilljobs.errors import InputError
from skilljobs.stats.layout import ALL
from skilljobs.stats.null import family_wise_threshold
from skilljobs.store.reader import RunReader
from skilljobs.store.run import BEST_NAME
from skilljobs.store.schema import NEURON_KEY
from skilljobs.suggestions import did_you_mean, shortened

NEURON = ["layer", "expert", "neuron"]


@dataclass(frozen=True)
class EffectThreshold:
    """The consistency that effects with random signs, one for each unit, reach somewhere in the model."""

    consistency: float
    draws: int

    @property
    def level(self) -> float:
        """The probability that another draw exceeds it."""
        return max(0.05, 1 / (self.draws + 1))


def top_effects(
    run: RunReader,
    metric: str | None,
    group: str = ALL,
    k: int = 20,
    given: Sequence[str] = (),
    per_layer: bool = False,
    outcome: str | None = None,
) -> pl.DataFrame:
    """Return the `k` neurons of largest |effect| on half 0 in `group`, with the columns of `effects.parquet`.

    `effect`, its interval, p and q are of half 1, which had no part in the choice. `r` is that with `metric` over the
    same examples, at the best token where positions are kept; it is left out without a metric. In a run of several
    soft prompts, each prompt's effects are rows of their own. `outcome` is the margin by default if there are effects
    on it.

    Raises:
        InputError: there are no effects, or none in this group, or metrics are to be held fixed.
    """
    if given:
        raise InputError(f"--given holds metrics fixed in r, and --sort {EFFECT} is not about r: leave one of them out")
    table = run.effect_table()
    outcome = outcome or default_outcome(run)
    groups = table.select(pl.col("group").unique(maintain_order=True)).collect()["group"].to_list()
    if group not in groups:
        raise InputError(
            f"effects are not estimated within {group!r}{did_you_mean(group, groups)}: they are in {shortened(groups)}"
        )
    rows = table.filter(pl.col("outcome") == outcome, pl.col("group") == group)
    order = [pl.col("effect_half0").abs(), *map(pl.col, NEURON_KEY), pl.col("prompt")]
    rows = rows.filter(pl.col("effect_half0").is_not_null())
    ordered = rows.sort(order, descending=[True] + [False] * (len(order) - 1)).collect()
    if per_layer:
        ordered = ordered.group_by("layer", maintain_order=True).head(k).sort("layer", maintain_order=True)
    return _with_r(run, ordered if per_layer else ordered.head(k), metric, group)


def default_outcome(run: RunReader) -> str:
    """The outcome of a run's effects: the margin, or the one that there is."""
    return str(run.effect_table().select(pl.col("outcome").min()).collect().item())


def effect_threshold(run: RunReader, outcome: str, prompt: int | None = None) -> EffectThreshold | None:
    """The family-wise threshold of consistency over all examples of half 1; None if no neuron has an effect."""
    rows = run.effect_null_maxima().filter(pl.col("outcome") == outcome).collect()
    rows = rows.filter(pl.col("prompt").eq_missing(pl.lit(prompt, pl.Int16)))
    found = family_wise_threshold(rows["consistency"].to_list())
    return EffectThreshold(found, len(rows)) if found else None


def metric_of(run: RunReader, outcome: str) -> str | None:
    """The metric of a run that is the outcome itself, or else the first one that is derived from the model."""
    metrics = run.layout().metrics
    names = [metric.name for metric in metrics if metric.kind == "model"]
    return outcome if outcome in names else next(iter(names), None)


def correlations_beside(run: RunReader, metric: str, population: str) -> pl.LazyFrame:
    """Return r of every neuron with a metric; at the token of largest |r| where positions are kept.

    Raises:
        InputError: the run has no correlations yet, or no such metric or population.
    """
    check_reduced(run)
    check_pair(run, metric, population)
    rows = run.best() if run.folder.exists(BEST_NAME) else run.correlations()
    return rows.filter(pl.col("metric") == metric, pl.col("population") == population).select(*NEURON, "r")


def _with_r(run: RunReader, rows: pl.DataFrame, metric: str | None, group: str) -> pl.DataFrame:
    if metric is None:
        return rows
    beside = correlations_beside(run, metric, group).collect()
    joined = rows.join(beside, on=NEURON, how="left", nulls_equal=True, maintain_order="left")
    return joined.with_columns(metric=pl.lit(metric))
