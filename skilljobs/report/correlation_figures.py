"""Correlations over the whole model: their histogram (figure 4 of arXiv 2511.21610), by layer, and side by side."""

from collections.abc import Sequence

import numpy as np
import polars as pl
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator

from skilljobs.analysis.distributions import neuron_text
from skilljobs.analysis.ranking import threshold_that_applies
from skilljobs.report.drawing import NULL, PALETTE, TOP, draw_thresholds, fitted_panel, legend_above, panels, shortened
from skilljobs.stats.layout import ALL
from skilljobs.store.reader import RunReader

PANELS = 12
BINS = 60
THRESHOLD_OF = 10
"""The neuron whose |r| is the threshold of figure 4."""
HEAT_NEURONS, HEAT_METRICS = 40, 40
QUANTILES = (("median", 0.5), ("99 % of neurons", 0.99), ("largest", 1.0))


def top_threshold(run: RunReader, metric: str, population: str = ALL) -> float | None:
    """|r| of the tenth strongest neuron; None if fewer have an r."""
    of_pair = (pl.col("metric") == metric) & (pl.col("population") == population)
    strongest = run.strongest().filter(of_pair).select(pl.col("r").abs()).head(THRESHOLD_OF).collect()
    return None if len(strongest) < THRESHOLD_OF else float(strongest["r"][-1])


def histograms(run: RunReader, metrics: Sequence[str]) -> list[Figure]:
    """r of all neurons with each metric, and the thresholds of the top 10 and of the null: pages of `PANELS`."""
    figures = []
    for start in range(0, len(metrics), PANELS):
        page = metrics[start : start + PANELS]
        figure, axes = panels(len(page))
        found = run.correlations().filter(pl.col("population") == ALL, pl.col("metric").is_in(page))
        correlations = found.select("metric", "r", "n").collect().partition_by("metric", as_dict=True)
        for one, metric in zip(axes, page, strict=True):
            of_metric = correlations[(metric,)]
            r = of_metric["r"].drop_nulls().to_numpy()
            one.set_title(f"{shortened(metric)}\n{len(r):,} neurons, n = {of_metric['n'][0]:,} examples")
            one.set_xlabel("correlation r")
            one.set_ylabel("neurons")
            if not len(r):
                one.text(0.5, 0.5, "r is undefined", transform=one.transAxes, ha="center")
                continue
            one.hist(r, bins=BINS, color=PALETTE[5], log=True)
            one.yaxis.set_minor_locator(NullLocator())
            one.xaxis.set_major_locator(MaxNLocator(5))
            top, null = top_threshold(run, metric), threshold_that_applies(run, metric, of_metric["n"][0])
            marks = [] if top is None else [(top, TOP, "--", f"top 10: |r| = {top:.2f}")]
            if null is not None:
                marks.append((null.r, NULL, ":", f"null: |r| = {null.r:.2f}"))
            draw_thresholds(one, marks)
            if marks:
                legend_above(one, len(marks))
        figures.append(figure)
    return figures


def by_layer(run: RunReader, metrics: Sequence[str]) -> Figure:
    """|r| by layer: the median neuron, the 99th percentile, the largest; the first `PANELS` metrics."""
    shown = metrics[:PANELS]
    strength = pl.col("r").abs()
    found = (
        run.correlations()
        .filter(pl.col("population") == ALL, pl.col("metric").is_in(shown))
        .group_by("metric", "layer")
        .agg(*(strength.quantile(share).alias(name) for name, share in QUANTILES), pl.col("n").first())
        .sort("layer")
        .collect()
        .partition_by("metric", as_dict=True)
    )
    figure, axes = panels(len(shown))
    for one, metric in zip(axes, shown, strict=True):
        of_metric = found[(metric,)]
        for place, (name, _) in enumerate(QUANTILES):
            one.plot(of_metric["layer"], of_metric[name], color=PALETTE[place], marker="o", markersize=2.5, label=name)
        null = threshold_that_applies(run, metric, of_metric["n"][0])
        if null is not None:
            one.axhline(null.r, color=NULL, linestyle=":", linewidth=1, label=f"null: {null.r:.2f}")
        one.set_title(f"{shortened(metric)}\nn = {of_metric['n'][0]:,} examples")
        one.set_xlabel("layer")
        one.set_ylabel("|r|")
        one.xaxis.set_major_locator(MaxNLocator(integer=True))
        one.set_ylim(bottom=0)
        legend_above(one, len(QUANTILES) + (null is not None))
    return figure


def heat_map(run: RunReader, metrics: Sequence[str]) -> Figure | None:
    """r of the strongest neurons of each metric with every metric, at most `HEAT_NEURONS` x `HEAT_METRICS`.

    None where r is undefined for all.
    """
    shown = list(metrics[:HEAT_METRICS])
    each = max(1, HEAT_NEURONS // len(shown))
    key = ["layer", "token", "neuron"]
    of_shown = (pl.col("population") == ALL) & pl.col("metric").is_in(shown)
    strongest = run.strongest().filter(of_shown).collect()
    chosen = pl.concat([strongest.filter(pl.col("metric") == metric).head(each) for metric in shown])
    chosen = chosen.select(key).unique(maintain_order=True)
    if chosen.is_empty():
        return None
    cells = run.correlations().filter(of_shown).join(chosen.lazy(), on=key, how="semi", nulls_equal=True)
    place = {row: index for index, row in enumerate(chosen.iter_rows())}
    values = np.full((len(chosen), len(shown)), np.nan)
    for *neuron, metric, r in cells.select(*key, "metric", "r").collect().iter_rows():
        values[place[tuple(neuron)], shown.index(metric)] = np.nan if r is None else r
    figure, axes = fitted_panel(2.4 + 0.24 * len(shown), 1.8 + 0.17 * len(chosen))
    largest = float(np.nanmax(np.abs(values)))
    image = axes.imshow(values, cmap="RdBu_r", vmin=-largest, vmax=largest, aspect="auto")
    axes.set_xticks(range(len(shown)), [shortened(name, 30) for name in shown], rotation=90)
    axes.set_yticks(range(len(chosen)), [neuron_text(row) for row in chosen.iter_rows(named=True)])
    axes.set_title(f"r of the top neurons of each metric, over up to {sum(run.record['shards']):,} examples (n)")
    axes.set_xlabel("metric")
    axes.spines[:].set_visible(False)
    figure.colorbar(image, ax=axes, label="r", shrink=0.6)
    return figure


def overlap_map(matrix: pl.DataFrame, k: int, expected: float) -> Figure:
    """How many of their top `k` neurons two metrics share: the frame of `analysis.overlap`."""
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
    """Training and validation loss of each soft prompt by step."""
    figure, axes = fitted_panel(4.2, 2.5)
    curve = run.tuning().collect()
    prompts = [None] if "prompt" not in curve.columns else curve["prompt"].unique(maintain_order=True).to_list()
    for place, prompt in enumerate(prompts):
        of_prompt = curve if prompt is None else curve.filter(prompt=prompt)
        for split, line in (("train", ":"), ("validation", "-")):
            points = of_prompt.filter(split=split).sort("step")
            label = split if prompt is None else f"{split}, prompt {prompt}"
            axes.plot(points["step"], points["loss"], line, color=PALETTE[place % len(PALETTE)], label=label)
    axes.set_xlabel("step")
    axes.set_ylabel("loss (nats a token)" if run.record["spec"]["tune_loss"] == "target" else "loss (nats a question)")
    axes.legend()
    return figure
