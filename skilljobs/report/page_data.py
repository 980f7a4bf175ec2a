"""What the page's charts and tables show, in few enough bytes for any number of neurons.

All correlations are binned; of each metric and population, the strongest neurons are there in full.
"""

from collections.abc import Sequence
from functools import cached_property
from math import isfinite
from typing import Any

import polars as pl

from skilljobs.analysis.binning import FINEST, Binned, binned
from skilljobs.analysis.distributions import Traces
from skilljobs.analysis.metric_warnings import rare_kind_in
from skilljobs.analysis.null_thresholds import NoThreshold, NullThreshold, NullThresholds
from skilljobs.printable import printable
from skilljobs.report.correlation_figures import top_threshold
from skilljobs.report.densities import Panel, density_rows, group_panel, metric_panel, within_panels
from skilljobs.report.figures import traces_of, usual_metrics, zero_one_metrics
from skilljobs.report.safe_json import safe_json
from skilljobs.stats.layout import ALL, WITHIN
from skilljobs.stats.metric_traps import RareKind
from skilljobs.stats.neurons import NeuronName
from skilljobs.store.reader import RunReader

MOST_PAIRS = 120
"""Pairs of a metric and a population. `all` and `within:` come first."""
LAYERS_BYTES, LAYER_BYTES = 150_000, 38
"""Bytes for |r| by layer, and about how many one layer takes for each pair."""
ROWS_BYTES, ROW_BYTES = 300_000, 115
"""Bytes for the strongest neurons, and about how many one of them takes."""
DENSITIES_BYTES = 150_000
"""Bytes for the densities of the top neurons; those by the metric itself come first."""
MOST_ROWS, FEWEST_ROWS = 100, 5
NUMBERS = ("ci_low", "ci_high", "r_half0", "r_half1")
Json = Any


def rounded(value: float | None, digits: int) -> float | None:
    """A number of as many significant digits as are shown; None for what is no finite number."""
    return None if value is None or not isfinite(value) else float(f"{value:.{digits}g}")


def neuron_id(row: dict[str, Any]) -> str:
    """The name of a neuron as commands take it, and its token behind an @ if it has one: `3/17`, `3/17@2`."""
    name = str(NeuronName(row["layer"], row["expert"], row["neuron"]))
    return name if row.get("token") is None else f"{name}@{row['token']}"


class PageData:
    """The numbers behind the charts and tables that follow the picked metric and population."""

    def __init__(self, run: RunReader) -> None:
        self.run = run
        self.metrics = usual_metrics(run)
        reported = run.layout().reported_populations
        order = [ALL, *(name for name in reported if name.startswith(WITHIN))]
        order += [name for name in reported if name not in order]
        most_pairs = min(MOST_PAIRS, LAYERS_BYTES // (LAYER_BYTES * len(run.record.neurons)))
        self.populations = order[: max(1, most_pairs // len(self.metrics))]
        self.left_out = len(order) - len(self.populations)
        self.thresholds = NullThresholds(run)
        pairs = len(self.metrics) * len(self.populations)
        self.rows = max(FEWEST_ROWS, min(MOST_ROWS, ROWS_BYTES // (pairs * ROW_BYTES)))

    @cached_property
    def tables(self) -> dict[tuple[str, str], Binned]:
        """The binned correlations of all pairs."""
        return binned(self.run, self.metrics, self.populations)

    @cached_property
    def strongest(self) -> dict[tuple[str, str], list[dict[str, Any]]]:
        """The strongest neurons of each pair, as rows of `correlations`."""
        wanted = pl.col("metric").is_in(self.metrics) & pl.col("population").is_in(self.populations)
        rows = self.run.strongest().filter(wanted).collect()
        pairs = rows.partition_by("metric", "population", as_dict=True, maintain_order=True)
        return {(str(pair[0]), str(pair[1])): of.head(self.rows).to_dicts() for pair, of in pairs.items()}

    def rare(self, metric: str) -> RareKind | None:
        """How few examples of its rarer kind a yes/no metric has; None if they suffice."""
        return rare_kind_in(self.run, self.thresholds.moments, metric)

    def json(self) -> Json:
        """Everything, as what JSON can hold."""
        return {
            "metrics": [printable(metric) for metric in self.metrics],
            "rare": [rare and rare.sentence for rare in map(self.rare, self.metrics)],
            "populations": [printable(population) for population in self.populations],
            "rows": self.rows,
            "layers": [
                {
                    "layer": layer.layer, "dense": layer.dense, "experts": list(layer.experts),
                    "perExpert": layer.neurons_per_expert, "count": layer.count,
                }
                for layer in self.run.record.neurons
            ],
            "pairs": [[self._pair(metric, population) for population in self.populations] for metric in self.metrics],
            "densities": self._densities(),
        }  # fmt: skip

    def _pair(self, metric: str, population: str) -> Json:
        table = self.tables[metric, population]
        top, found = top_threshold(self.run, metric, population), self.thresholds.of(metric, population)
        null = found if isinstance(found, NullThreshold) else None
        halves = (None, None) if null is None else (null.half0, null.half1)
        rows = self.strongest.get((metric, population), [])
        return {
            "n": table.n,
            "neurons": table.neurons,
            "top": rounded(top, 4),
            "null": None if null is None else rounded(null.r, 4),
            "nullIs": _about(found),
            "bins": [[round(bin_.low * FINEST), round(bin_.high * FINEST), bin_.neurons] for bin_ in table.bins],
            "layers": [
                [of.layer, *(rounded(value, 3) for value in (of.median, of.high, of.largest)), neuron_id(of.neuron)]
                for of in table.layers
            ],
            "nullHalves": [rounded(half, 4) for half in halves],
            "strongest": [
                [
                    neuron_id(row), rounded(row["r"], 4), *(rounded(row[name], 3) for name in NUMBERS[:2]),
                    rounded(row["p"], 2), rounded(row["q"], 2), *(rounded(row[name], 3) for name in NUMBERS[2:]),
                    rounded(row["activation_mean"], 3), rounded(row["activation_std"], 3), row["n"],
                ]
                for row in rows
            ],
        }  # fmt: skip

    def _densities(self) -> list[list[Json]]:
        """The panels of each metric's top neuron: by the metric, by each grouping column, and within its values."""
        traces = traces_of(self.run)
        if traces is None:
            return [[] for _ in self.metrics]
        bools = zero_one_metrics(self.run, traces, self.metrics)
        every = [self._panels(traces, metric, bools) for metric in self.metrics]
        found: list[list[Json]] = [[] for _ in self.metrics]
        room = DENSITIES_BYTES
        for place in range(max(map(len, every))):
            for panels, kept in zip(every, found, strict=True):
                if place < len(panels):
                    panel = panel_json(panels[place])
                    room -= len(safe_json(panel).encode())
                    if room < 0:
                        return found
                    kept.append(panel)
        return found

    def _panels(self, traces: Traces, metric: str, bools: Sequence[str]) -> list[Panel]:
        groups = list(self.run.record.groups)
        panels = [metric_panel(traces, metric), *(group_panel(traces, column, metric) for column in groups)]
        inside = [within_panels(traces, column, [metric]) for column in groups] if metric in bools else []
        return [panel for panel in panels if panel is not None] + [
            panel for rows in inside for row in rows for panel in row
        ]


def panel_json(panel: Panel) -> Json:
    """A panel of densities: the curves of its groups as whole thousandths of the highest, on one grid."""
    rows = density_rows(panel.groups)
    curves: dict[str, list[dict[str, float]]] = {}
    for row in rows:
        curves.setdefault(row["group"], []).append(row)
    highest = max((row["density"] for row in rows if "density" in row), default=1.0)
    grid = next(([of[0]["activation"], of[-1]["activation"]] for of in curves.values() if "density" in of[0]), None)
    return {
        "title": panel.title,
        "subtitle": panel.subtitle,
        "grid": grid,
        "highest": rounded(highest, 4),
        "groups": [
            {"name": name, "curve": [round(1000 * row["density"] / highest) for row in of][::2]}
            if "density" in of[0]
            else {"name": name, "lines": [row["line"] for row in of]}
            for name, of in curves.items()
        ],
    }


def _about(null: NullThreshold | NoThreshold) -> str:
    if isinstance(null, NoThreshold):
        return null.reason
    parts = [f"a random metric exceeds it somewhere in the model with probability {100 * null.level:.1f} %"]
    if null.is_approximate:
        parts.append("it is approximate")
    if null.too_low:
        parts.append("it is too low, because the metric is more skewed than the null metrics")
    return "; ".join(parts)
