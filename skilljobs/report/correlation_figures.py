"""The rows of the figures of correlations, and the figures of a run that are made of them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import altair as alt
import polars as pl

from skilljobs.analysis.binning import Binned
from skilljobs.analysis.distributions import neuron_text
from skilljobs.analysis.null_thresholds import NullThreshold, NullThresholds
from skilljobs.analysis.overlap import expected_overlap, overlap
from skilljobs.report import correlation_charts as charts
from skilljobs.report.charts import Figure, in_panels, labels, shortened
from skilljobs.stats.layout import ALL
from skilljobs.store.reader import RunReader
from skilljobs.store.schema import NEURON_KEY

PANELS = 12
"""The most panels in one figure."""
THRESHOLD_RANK = 10
"""Rank of the neuron whose |r| is the top threshold, as in figure 4 of the paper."""
HEAT_NEURONS, HEAT_METRICS = 40, 40
LONGEST_METRIC = 30
OVERLAP_TOP = 100
"""Rank down to which the overlap of top neurons is counted."""
FLOOR = 0.5
"""Where bars begin on a logarithmic axis: a bar of one neuron must be seen."""


def top_threshold(run: RunReader, metric: str, population: str = ALL) -> float | None:
    """Return |r| of the tenth strongest neuron, or None if fewer than ten neurons have an r."""
    selected = (pl.col("metric") == metric) & (pl.col("population") == population)
    strongest = run.strongest().filter(selected).select(pl.col("r").abs()).head(THRESHOLD_RANK).collect()
    return None if len(strongest) < THRESHOLD_RANK else float(strongest["r"][-1])


def histogram_rows(binned: Binned, top: float | None, null: float | None) -> list[dict[str, float]]:
    """Return the rows of `correlation_charts.histogram`."""
    bins = [{"low": bin_.low, "high": bin_.high, "neurons": bin_.neurons, "floor": FLOOR} for bin_ in binned.bins]
    thresholds = [
        {name: sign * value} for name, value in (("top", top), ("null", null)) if value is not None for sign in (-1, 1)
    ]
    return bins + thresholds


def layer_rows(binned: Binned, null: float | None) -> list[dict[str, Any]]:
    """Return the rows of `correlation_charts.layers`."""
    rows: list[dict[str, Any]] = []
    for layer in binned.layers:
        values = zip(charts.QUANTILES, (layer.median, layer.high, layer.largest), strict=True)
        rows += [{"layer": layer.layer, "share": share, "strength": strength} for share, strength in values]
        rows[-1]["neuron"] = neuron_text(layer.neuron)
    return rows if null is None else [*rows, {"null": null}]


def histograms(
    run: RunReader, metrics: Sequence[str], tables: Mapping[tuple[str, str], Binned], thresholds: NullThresholds
) -> Iterator[Figure]:
    """Yield histograms of r over all neurons for each metric, a figure for every `PANELS` metrics."""
    for start in range(0, len(metrics), PANELS):
        panels = []
        for metric in metrics[start : start + PANELS]:
            table, top, null = tables[metric, ALL], top_threshold(run, metric), thresholds.of(metric)
            marks = [] if top is None else [f"top 10: |r| = {top:.2f} (dashes)"]
            if isinstance(null, NullThreshold):
                marks.append(f"null: |r| = {null.r:.2f} (dots)")
            size = f"{table.neurons:,} neurons, n = {table.n:,} examples"
            lines = [size, ", ".join(marks) if table.neurons else "r is undefined"]
            chart = charts.histogram(histogram_rows(table, top, null.r if isinstance(null, NullThreshold) else None))
            panels.append(chart.properties(title=alt.Title(shortened(metric), subtitle=lines)))
        name = "histogram" if start == 0 else f"histogram-{start // PANELS + 1}"
        yield Figure(
            name,
            in_panels(panels),
            "r of every neuron, with the top-10 threshold (red dashes) and the null threshold (dots).",
        )


def by_layer(metrics: Sequence[str], tables: Mapping[tuple[str, str], Binned], thresholds: NullThresholds) -> Figure:
    """Draw |r| by layer for the first `PANELS` metrics."""
    panels = []
    for metric in metrics[:PANELS]:
        table, null = tables[metric, ALL], thresholds.of(metric)
        known = null.r if isinstance(null, NullThreshold) else None
        lines = [f"n = {table.n:,} examples" + ("" if known is None else f", null: |r| = {known:.2f} (dots)")]
        chart = charts.layers(layer_rows(table, known))
        panels.append(chart.properties(title=alt.Title(shortened(metric), subtitle=lines)))
    return Figure("layers", in_panels(panels), "The distribution of |r| by layer.")


def heat_map(run: RunReader, metrics: Sequence[str]) -> Figure | None:
    """Draw r between the strongest neurons of each metric and every metric.

    The map has at most `HEAT_NEURONS` neurons and `HEAT_METRICS` metrics. Returns None if r is undefined for all of
    them.
    """
    drawn = list(metrics[:HEAT_METRICS])
    neurons_per_metric = max(1, HEAT_NEURONS // len(drawn))
    selected = (pl.col("population") == ALL) & pl.col("metric").is_in(drawn)
    strongest = run.strongest().filter(selected).collect()
    chosen = pl.concat([strongest.filter(pl.col("metric") == metric).head(neurons_per_metric) for metric in drawn])
    chosen = chosen.select(NEURON_KEY).unique(maintain_order=True)
    if chosen.is_empty():
        return None
    cells = run.correlations().filter(selected).join(chosen.lazy(), on=NEURON_KEY, how="semi", nulls_equal=True)
    cells = cells.select(*NEURON_KEY, "metric", "r").drop_nulls("r")
    names = labels(drawn, LONGEST_METRIC)
    rows = [
        {"neuron": neuron_text(row), "metric": names[row["metric"]], "r": round(row["r"], 4)}
        for row in cells.collect().sort(*NEURON_KEY, "metric").iter_rows(named=True)
    ]
    neurons = [neuron_text(row) for row in chosen.iter_rows(named=True)]
    largest = max(abs(row["r"]) for row in rows)
    chart = charts.heat_map(rows, neurons, list(names.values()), largest)
    examples = sum(run.record.shards)
    caption = f"r between the top neurons of each metric and every metric, over up to {examples:,} examples (n)."
    return Figure("heatmap", chart, caption)


def overlap_figure(run: RunReader, name: str, family: str, levels: Sequence[str]) -> Figure:
    """Draw how many of their top neurons each pair of `levels`, the metrics of a column, shares."""
    matrix, chance = overlap(run, levels, k=OVERLAP_TOP), expected_overlap(run, levels, k=OVERLAP_TOP)
    names = labels(levels, LONGEST_METRIC)
    rows = [
        {"first": names[row["metric"]], "second": names[level], "neurons": row[level]}
        for row in matrix.iter_rows(named=True)
        for level in levels
    ]
    chart = charts.overlap_map(rows, list(names.values()), OVERLAP_TOP)
    caption = (
        f"Do the metrics {family}=... share their top neurons? Neurons in the top {OVERLAP_TOP} of both;"
        f" {chance:.2g} are expected by chance."
    )
    return Figure(name, chart, caption)


def tuning_figure(run: RunReader) -> Figure:
    """Draw the training and validation loss of each soft prompt by tuning step."""
    curve = run.tuning().collect()
    of_prompt = curve["prompt"].to_list() if "prompt" in curve.columns else [None] * len(curve)
    rows = [
        {"step": row["step"], "loss": row["loss"], "split": row["split"],
         "prompt": "the prompt" if prompt is None else f"prompt {prompt}"}
        for row, prompt in zip(curve.iter_rows(named=True), of_prompt, strict=True)
    ]  # fmt: skip
    targets = run.record.job_spec.tune_loss == "target"
    chart = charts.tuning_curve(rows, "nats per token" if targets else "nats per question")
    return Figure("tuning", chart, "Did the prompt learn? The loss by tuning step.")
