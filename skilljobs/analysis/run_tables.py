"""A run in a few tables: how well the model did, and how strong the neurons are."""

from collections.abc import Sequence

import polars as pl

from skilljobs.analysis.distributions import level_names
from skilljobs.analysis.ranking import threshold_that_applies
from skilljobs.stats.layout import ALL
from skilljobs.store.reader import RunReader

STRONGEST = 10
SIGNIFICANT = 0.01


def accuracy_by_group(run: RunReader) -> pl.DataFrame:
    """Accuracy and mean confidence over all test examples and by the values of the grouping columns.

    Columns: population, examples, accuracy, confidence, target_logprob; accuracy is null without choices. Over several
    soft prompts it is their mean.
    """
    groups = list(run.record["groups"])
    named = run.examples().select("example_id", *groups).collect()
    levels = {column: level_names(named[column]) for column in groups}
    named = named.select("example_id", *(pl.Series(column, names, pl.String) for column, names in levels.items()))
    scores = run.scores().select("example_id", "correct", "confidence", "target_logprob").collect()
    scores = scores.join(named, on="example_id", how="inner")
    means = [
        pl.col("example_id").n_unique().alias("examples"),
        pl.col("correct").mean().alias("accuracy"),
        pl.col("confidence", "target_logprob").mean(),
    ]
    tables = [scores.select(pl.lit(ALL).alias("population"), *means)]
    for column in groups:
        members = scores.filter(pl.col(column).is_not_null())
        members = members.with_columns(population=pl.concat_str(pl.lit(f"{column}="), pl.col(column)))
        tables.append(members.group_by("population").agg(*means).sort("population"))
    return pl.concat(tables)


def metric_table(run: RunReader, metrics: Sequence[str] = (), population: str = ALL) -> pl.DataFrame:
    """How strong the correlations with each metric are, a row a metric.

    Columns: metric, n, neurons (that have an r), top10 (|r| of the tenth strongest), null (the family-wise threshold;
    null where the metric is known of fewer examples), null_too_low (whether chance exceeds it more often), above_null,
    significant (neurons of q < `SIGNIFICANT`), on_half0 and on_half1 (mean r on either half of the `STRONGEST` neurons
    of half 0, with the sign that they have there: ranked on one half, measured on the other).
    """
    names = list(metrics) or [metric.name for metric in run.layout().metrics if metric.kind != "null"]
    correlations = run.correlations().filter(pl.col("population") == population)
    rows = []
    for name in names:
        found = correlations.filter(pl.col("metric") == name).select("n", "r", "q", "r_half0", "r_half1").collect()
        strength = found["r"].abs().drop_nulls().sort(descending=True)
        threshold = threshold_that_applies(run, name, found["n"][0]) if population == ALL else None
        ranked = found.drop_nulls("r_half0").sort(pl.col("r_half0").abs(), descending=True).head(STRONGEST)
        ranked = ranked.drop_nulls("r_half1")
        rows.append(
            {
                "metric": name,
                "n": found["n"][0],
                "neurons": len(strength),
                "top10": strength[STRONGEST - 1] if len(strength) >= STRONGEST else None,
                "null": None if threshold is None else threshold.r,
                "null_too_low": threshold is not None and threshold.too_low,
                "above_null": None if threshold is None else int((strength > threshold.r).sum()),
                "significant": int((found["q"] < SIGNIFICANT).sum()),
                "on_half0": ranked["r_half0"].abs().mean(),
                "on_half1": (ranked["r_half1"] * ranked["r_half0"].sign()).mean(),
            }
        )
    return pl.DataFrame(rows, infer_schema_length=None)
