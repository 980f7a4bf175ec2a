"""Tables that summarise a run: the model's accuracy, and the strength of its neurons' correlations."""

from collections.abc import Sequence

import polars as pl

from skilljobs.analysis.distributions import level_names
from skilljobs.analysis.null_thresholds import NullThreshold, NullThresholds
from skilljobs.analysis.scored_shards import scored_shards
from skilljobs.stats.layout import ALL
from skilljobs.store.reader import RunReader

STRONGEST = 10
"""How many neurons are ranked on one half and measured on the other."""
SIGNIFICANT = 0.01
"""Neurons with a q below this count as significant."""
_AVERAGED = {"correct": "accuracy", "confidence": "confidence", "target_logprob": "target_logprob"}
"""Scores, and the names of their means."""


def accuracy_by_group(run: RunReader) -> pl.DataFrame:
    """Return accuracy and mean confidence over all test examples and by the values of the grouping columns.

    Columns: population, examples, accuracy, confidence, target_logprob. The accuracy is null for tasks without choices.
    With several soft prompts, the values are means over the prompts.
    """
    groups = list(run.record.groups)
    parts = [_sums_by_group(pl.concat(frames), groups) for _, frames in scored_shards(run, groups, list(_AVERAGED))]
    sums = pl.concat(parts).group_by("place", "population", maintain_order=True).sum().sort("place", "population")
    return sums.select(
        "population",
        "examples",
        *(
            pl.when(pl.col(f"n:{name}") > 0).then(pl.col(f"sum:{name}") / pl.col(f"n:{name}")).alias(shown)
            for name, shown in _AVERAGED.items()
        ),
    )


def _sums_by_group(scored: pl.DataFrame, groups: Sequence[str]) -> pl.DataFrame:
    """Of all rows, and of each group, whose columns have the numbers 1, 2 ...: examples, and sums and counts of scores.

    A row of `scored` is an example with one soft prompt.
    """
    aggregated = [
        pl.col("example_id").n_unique().alias("examples"),
        *(pl.col(name).cast(pl.Float64).sum().alias(f"sum:{name}") for name in _AVERAGED),
        *(pl.col(name).count().alias(f"n:{name}") for name in _AVERAGED),
    ]
    parts = [scored.select(pl.lit(0).alias("place"), pl.lit(ALL).alias("population"), *aggregated)]
    for place, column in enumerate(groups, start=1):
        levels = pl.Series("population", level_names(scored[column]), pl.String)
        members = scored.with_columns(population=f"{column}=" + levels, place=pl.lit(place)).drop_nulls("population")
        parts.append(members.group_by("place", "population", maintain_order=True).agg(*aggregated))
    return pl.concat(parts)


def metric_table(run: RunReader, metrics: Sequence[str] = (), population: str = ALL) -> pl.DataFrame:
    """Return how strong the correlations with each metric are, one row per metric.

    Without `metrics`, all metrics but the null metrics are included. Columns:

    - metric, n: the metric's name and the number of examples that have a value.
    - neurons: how many neurons have an r.
    - top10: |r| of the tenth strongest neuron, or null if there are fewer.
    - null: the family-wise threshold, or null if it is not known.
    - null_too_low: whether the metric exceeds that threshold by chance more often.
    - null_approximate: whether it was scaled from that of all examples.
    - above_null: how many neurons have an |r| above the threshold.
    - significant: how many neurons have q < `SIGNIFICANT`.
    - on_half0, on_half1: the mean r on each half of the `STRONGEST` neurons of half 0, with each r multiplied by the
      sign that it has on half 0. These neurons are ranked on one half and measured on the other.
    """
    names = list(metrics) or [metric.name for metric in run.layout().metrics if metric.kind != "null"]
    correlations = run.correlations().filter(pl.col("population") == population)
    table, thresholds = [], NullThresholds(run)
    for name in names:
        rows = correlations.filter(pl.col("metric") == name).select("n", "r", "q", "r_half0", "r_half1").collect()
        strength = rows["r"].abs().drop_nulls().sort(descending=True)
        found = thresholds.of(name, population)
        threshold = found if isinstance(found, NullThreshold) else None
        ranked = rows.drop_nulls("r_half0").sort(pl.col("r_half0").abs(), descending=True).head(STRONGEST)
        ranked = ranked.drop_nulls("r_half1")
        table.append(
            {
                "metric": name,
                "n": rows["n"][0],
                "neurons": len(strength),
                "top10": strength[STRONGEST - 1] if len(strength) >= STRONGEST else None,
                "null": None if threshold is None else threshold.r,
                "null_too_low": threshold is not None and threshold.too_low,
                "null_approximate": threshold is not None and threshold.is_approximate,
                "above_null": None if threshold is None else int((strength > threshold.r).sum()),
                "significant": int((rows["q"] < SIGNIFICANT).sum()),
                "on_half0": ranked["r_half0"].abs().mean(),
                "on_half1": (ranked["r_half1"] * ranked["r_half0"].sign()).mean(),
            }
        )
    return pl.DataFrame(table, infer_schema_length=None)
