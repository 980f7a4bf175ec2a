"""The traced activations of a run with the metrics of its examples, and their distributions by group."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from skilljobs.analysis.scored_shards import examples_with_scores
from skilljobs.stats.layout import ALL, Layout
from skilljobs.stats.metric_traps import FEWEST
from skilljobs.store.reader import RunReader
from skilljobs.tasks.base import ANSWER, choice_names
from skilljobs.tasks.external_metrics import level_name

Array = NDArray[np.float64]

MOST_VALUES = 4
"""A numeric metric with more distinct values than this is grouped into thirds."""
GRID = 100
"""Points at which a density is evaluated."""
FINER = 9
"""How many times as many bins activations are counted in before they are smoothed; odd, so that points are centres."""
REACH = 4.0
"""Standard deviations after which the kernel is cut off."""


@dataclass(frozen=True)
class Group:
    """A neuron's activations over the examples that have a value or a range of values in common."""

    label: str
    activations: Array


def is_neuron(neuron: Mapping[str, Any]) -> pl.Expr:
    """Whether a row is about a neuron, given by its `layer`, `expert` and `neuron`."""
    return pl.all_horizontal(pl.col(name).eq_missing(neuron[name]) for name in ("layer", "expert", "neuron"))


def neuron_text(row: dict[str, Any]) -> str:
    """Return a neuron's name: `layer 3 neuron 17`, with its expert and its token if the row has them."""
    token = "" if row.get("token") is None else f" token {row['token']}"
    expert = "" if row["expert"] is None else f" expert {row['expert']}"
    return f"layer {row['layer']}{expert} neuron {row['neuron']}{token}"


def level_names(column: pl.Series) -> list[str | None]:
    """Return the values of a column of examples as they are named in populations.

    For the column `choices`, the values are the numbers of choices.
    """
    values = column.list.len() if column.name == "choices" else column
    return [None if value is None else level_name(value) for value in values.to_list()]


def answer_names(examples: pl.DataFrame) -> list[str | None]:
    """Return the right choice of each of stored `examples`, as it is named in metrics; None without choices."""
    return [
        None if choices is None else choice_names(choices)[answer]
        for choices, answer in examples.select("choices", ANSWER).iter_rows()
    ]


def metric_values(examples: pl.DataFrame, layout: Layout, metric: str) -> Array:
    """Return a metric's value for each of stored `examples`, in order, with NaN for those that have none.

    For a model-derived metric, `examples` must have the columns of the scores too.
    """
    if metric == "choices":
        values = examples["choices"].list.len()
    elif metric in examples.columns:
        values = examples[metric]
    else:
        known = next(known for known in layout.metrics if known.name == metric)
        assert known.column is not None
        column = examples[known.column]
        if known.column == ANSWER:
            column = pl.Series(answer_names(examples), dtype=pl.String)
        values = column.map_elements(level_name, pl.String) == known.level
    return np.array(values.cast(pl.Float64).fill_null(np.nan).to_numpy())


class Traces:
    """The traced examples of a run, or those of its first soft prompt if it has several.

    Raises:
        InputError: the run has not been traced.
    """

    def __init__(self, run: RunReader) -> None:
        self.run = run.prompts()[0]
        self._activations = self.run.activations().collect()
        self._values: dict[str, Array] = {}
        self._levels: dict[str, dict[str, NDArray[np.bool_]]] = {}
        ids = self._activations.select(pl.col("example_id").unique(maintain_order=True))
        self.examples = examples_with_scores(self.run, ids)

    @cached_property
    def _top(self) -> pl.DataFrame:
        return self.run.strongest().filter(pl.col("population") == ALL).collect()

    def top(self, metric: str) -> dict[str, Any] | None:
        """Return the row of `correlations` with the largest |r| with `metric` over `all`, or None if r is undefined."""
        return next(self._top.filter(pl.col("metric") == metric).head(1).iter_rows(named=True), None)

    def activations(self, neuron: dict[str, Any]) -> Array | None:
        """Return a neuron's activation for each of `examples`, in order, or None if the neuron was not traced."""
        same = is_neuron(neuron)
        if neuron.get("token") is not None:
            same &= pl.col("token") == neuron["token"]
        rows = self._activations.filter(same)
        if rows.is_empty() or self.examples.is_empty():
            return None
        return rows["activation"].head(len(self.examples)).to_numpy()

    def values(self, metric: str) -> Array:
        """Return the metric's value for each of `examples`, in order, with NaN for those that have none."""
        if metric not in self._values:
            self._values[metric] = metric_values(self.examples, self.run.layout(), metric)
        return self._values[metric]

    def by_metric(self, metric: str, activations: Array, among: NDArray[np.bool_] | None = None) -> list[Group]:
        """Group activations by the values of a metric, or by its thirds if it has more than `MOST_VALUES` values.

        Examples without a value are left out, and so are those outside the mask `among` if it is given.
        """
        values = self.values(metric)
        chosen = ~np.isnan(values) if among is None else ~np.isnan(values) & among
        distinct = np.unique(values[chosen])
        if len(distinct) <= MOST_VALUES:
            labels = {0.0: "no", 1.0: "yes"} if set(distinct) <= {0.0, 1.0} else {}
            return [
                Group(labels.get(value, f"{value:g}"), activations[chosen & (values == value)]) for value in distinct
            ]
        low, high = np.quantile(values[chosen], [1 / 3, 2 / 3])
        return [
            Group(f"lowest third, up to {low:.3g}", activations[chosen & (values <= low)]),
            Group("middle third", activations[chosen & (values > low) & (values <= high)]),
            Group(f"highest third, above {high:.3g}", activations[chosen & (values > high)]),
        ]

    def by_column(self, column: str, activations: Array) -> list[Group]:
        """Group activations by the values of a column of the examples; examples without a value are left out."""
        if column not in self._levels:
            names = level_names(self.examples[column])
            levels = sorted({name for name in names if name is not None})
            self._levels[column] = {level: np.array([name == level for name in names]) for level in levels}
        return [Group(level, activations[members]) for level, members in self._levels[column].items()]


def density(groups: Sequence[Group]) -> tuple[Array, list[Array | None]]:
    """Return a grid over the activations of all groups, and the density of each group at its points.

    The grid has `GRID` points. Densities are estimated with a Gaussian kernel (Scott's rule), which smooths the counts
    in bins far narrower than the grid. The density is None for a group that has fewer than `FEWEST` examples or does
    not vary: see `lines` for what is drawn of it.
    """
    everything = np.concatenate([group.activations for group in groups])
    low, high = np.quantile(everything, [0.005, 0.995])
    margin = 0.1 * (high - low) or 1e-6
    grid = np.linspace(low - margin, high + margin, GRID)
    curves: list[Array | None] = []
    for group in groups:
        varies = len(group.activations) >= FEWEST and float(np.ptp(group.activations)) > 0
        curves.append(_smoothed(group.activations, grid) if varies else None)
    return grid, curves


def _smoothed(activations: Array, grid: Array) -> Array:
    step = (grid[-1] - grid[0]) / (len(grid) - 1)
    width = step / FINER
    bandwidth = float(np.std(activations, ddof=1)) * len(activations) ** -0.2
    beyond = min(len(grid), int(np.ceil(REACH * bandwidth / step)))
    count = FINER * (len(grid) + 2 * beyond)
    first = grid[0] - beyond * step - FINER / 2 * width
    counts, _ = np.histogram(activations, bins=count, range=(first, first + count * width))
    smooth = gaussian_filter1d(counts.astype(np.float64), bandwidth / width, mode="constant", truncate=REACH)
    return np.asarray(smooth[FINER * beyond + FINER // 2 :: FINER][: len(grid)] / (len(activations) * width))


def lines(group: Group) -> list[float]:
    """Return where lines are drawn for a group without a density: at each of a few activations, or at the one value."""
    return sorted(set(group.activations.tolist()))
