"""Figures of the correlations over the whole model: histograms (figure 4 of arXiv 2511.21610), layers and maps."""

from collections.abc import Sequence

import numpy as np
import polars as pl
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator

from skilljobs.analysis.distributions import neuron_text
from skilljobs.analysis.null_thresholds import NullThreshold, NullThresholds
from skilljobs.report.drawing import NULL, PALETTE, TOP, draw_thresholds, fitted_panel, legend_above, panels, shortened
from skilljobs.stats.layout import ALL
from skilljobs.store.reader import RunReader
from skilljobs.store.schema import NEURON_KEY

PANELS = 12
"""The most panels in one figure."""
BINS = 60
THRESHOLD_RANK = 10
"""Rank of the neuron whose |r| is the top threshold, as in figure 4 of the paper."""
HEAT_NEURONS, HEAT_METRICS = 40, 40
QUANTILES = (("median", 0.5), ("99 % of neurons", 0.99), ("largest", 1.0))


def top_threshold(run: RunReader, metric: str, population: str = ALL) -> float | None:
    """Return |r| of the tenth strongest neuron, or None if fewer than ten neurons have an r."""
    selected = (pl.col("metric") == metric) & (pl.col("population") == population)
    strongest = run.strongest().filter(selected).select(pl.col("r").abs()).head(THRESHOLD_RANK).collect()
    return None if len(strongest) < THRESHOLD_RANK else float(strongest["r"][-1])


def histograms(run: RunReader, metrics: Sequence[str]) -> list[Figure]:
    """Draw a histogram of r over all neurons for each metric, with the top-10 threshold and the null threshold.

    Returns one figure for every `PANELS` metrics.
    """
    figures, thresholds = [], NullThresholds(run)
    for start in range(0, len(metrics), PANELS):
        page = metrics[start : start + PANELS]
        figure, axes = panels(len(page))
        selected = run.correlations().filter(pl.col("population") == ALL, pl.col("metric").is_in(page))
        correlations = selected.select("metric", "r", "n").collect().partition_by("metric", as_dict=True)
        for panel, metric in zip(axes, page, strict=True):
            rows = correlations[(metric,)]
            r = rows["r"].drop_nulls().to_numpy()
            panel.set_title(f"{shortened(metric)}\n{len(r):,} neurons, n = {rows['n'][0]:,} examples")
            panel.set_xlabel("correlation r")
            panel.set_ylabel("neurons")
            if not len(r):
                panel.text(0.5, 0.5, "r is undefined", transform=panel.transAxes, ha="center")
                continue
            panel.hist(r, bins=BINS, color=PALETTE[5], log=True)
            panel.yaxis.set_minor_locator(NullLocator())
            panel.xaxis.set_major_locator(MaxNLocator(5))
            top, null = top_threshold(run, metric), thresholds.of(metric)
            marks = [] if top is None else [(top, TOP, "--", f"top 10: |r| = {top:.2f}")]
            if isinstance(null, NullThreshold):
                marks.append((null.r, NULL, ":", f"null: |r| = {null.r:.2f}"))
            draw_thresholds(panel, marks)
            if marks:
                legend_above(panel, len(marks))
        figures.append(figure)
    return figures


def by_layer(run: RunReader, metrics: Sequence[str]) -> Figure:
    """Draw |r| by layer for the first `PANELS` metrics: the median neuron, the 99th percentile and the largest."""
    drawn = metrics[:PANELS]
    strength = pl.col("r").abs()
    layers = (
        run.correlations()
        .filter(pl.col("population") == ALL, pl.col("metric").is_in(drawn))
        .group_by("metric", "layer")
        .agg(*(strength.quantile(share).alias(name) for name, share in QUANTILES), pl.col("n").first())
        .sort("layer")
        .collect()
        .partition_by("metric", as_dict=True)
    )
    figure, axes = panels(len(drawn))
    thresholds = NullThresholds(run)
    for panel, metric in zip(axes, drawn, strict=True):
        rows = layers[(metric,)]
        for index, (name, _) in enumerate(QUANTILES):
            panel.plot(rows["layer"], rows[name], color=PALETTE[index], marker="o", markersize=2.5, label=name)
        null = thresholds.of(metric)
        if isinstance(null, NullThreshold):
            panel.axhline(null.r, color=NULL, linestyle=":", linewidth=1, label=f"null: {null.r:.2f}")
        panel.set_title(f"{shortened(metric)}\nn = {rows['n'][0]:,} examples")
        panel.set_xlabel("layer")
        panel.set_ylabel("|r|")
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        panel.set_ylim(bottom=0)
        legend_above(panel, len(QUANTILES) + isinstance(null, NullThreshold))
    return figure


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
    row_of_neuron = {neuron: index for index, neuron in enumerate(chosen.iter_rows())}
    values = np.full((len(chosen), len(drawn)), np.nan)
    for *neuron, metric, r in cells.select(*NEURON_KEY, "metric", "r").collect().iter_rows():
        values[row_of_neuron[tuple(neuron)], drawn.index(metric)] = np.nan if r is None else r
    figure, axes = fitted_panel(2.4 + 0.24 * len(drawn), 1.8 + 0.17 * len(chosen))
    largest = float(np.nanmax(np.abs(values)))
    image = axes.imshow(values, cmap="RdBu_r", vmin=-largest, vmax=largest, aspect="auto")
    axes.set_xticks(range(len(drawn)), [shortened(name, 30) for name in drawn], rotation=90)
    axes.set_yticks(range(len(chosen)), [neuron_text(row) for row in chosen.iter_rows(named=True)])
    axes.set_title(f"r of the top neurons of each metric, over up to {sum(run.record.shards):,} examples (n)")
    axes.set_xlabel("metric")
    axes.spines[:].set_visible(False)
    figure.colorbar(image, ax=axes, label="r", shrink=0.6)
    return figure


def overlap_map(matrix: pl.DataFrame, k: int, expected: float) -> Figure:
    """Draw how many of their top `k` neurons each pair of metrics shares.

    `matrix` is the frame that `analysis.overlap.overlap` returns, and `expected` is the number expected by chance.
    """
    names = matrix["metric"].to_list()
    counts = matrix.select(names).to_numpy()
    figure, axes = fitted_panel(2.6 + 0.42 * len(names), 2.0 + 0.34 * len(names))
    image = axes.imshow(counts, cmap="cividis", vmin=0, vmax=k)
    axes.set_xticks(range(len(names)), [shortened(name, 30) for name in names], rotation=90)
    axes.set_yticks(range(len(names)), [shortened(name, 30) for name in names])
    for row, column in np.ndindex(counts.shape):
        colour = "black" if counts[row, column] > k / 2 else "white"
        axes.text(column, row, str(counts[row, column]), ha="center", va="center", color=colour, fontsize=7)
    axes.set_title(f"neurons in the top {k} of both\n({expected:.2g} expected by chance)")
    axes.spines[:].set_visible(False)
    figure.colorbar(image, ax=axes, label="neurons", shrink=0.6)
    return figure


def tuning_curve(run: RunReader) -> Figure:
    """Draw the training and validation loss of each soft prompt by tuning step."""
    figure, axes = fitted_panel(4.2, 2.5)
    curve = run.tuning().collect()
    prompts = [None] if "prompt" not in curve.columns else curve["prompt"].unique(maintain_order=True).to_list()
    for index, prompt in enumerate(prompts):
        prompt_curve = curve if prompt is None else curve.filter(prompt=prompt)
        for split, line in (("train", ":"), ("validation", "-")):
            points = prompt_curve.filter(split=split).sort("step")
            label = split if prompt is None else f"{split}, prompt {prompt}"
            axes.plot(points["step"], points["loss"], line, color=PALETTE[index % len(PALETTE)], label=label)
    axes.set_xlabel("step")
    targets = run.record.job_spec.tune_loss == "target"
    axes.set_ylabel("loss (nats per token)" if targets else "loss (nats per question)")
    axes.legend()
    return figure
