"""Traced activations of a run beside the metrics of its examples, and their distributions by group."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.stats import gaussian_kde

from skilljobs.errors import InputError
from skilljobs.stats.layout import ALL
from skilljobs.store.reader import RunReader
from skilljobs.store.run import ACTIVATIONS_NAME
from skilljobs.tasks.external_metrics import level_name

Array = NDArray[np.float64]

MOST_VALUES = 4
"""A number with more values than this is grouped by thirds."""
GRID = 200


@dataclass(frozen=True)
class Group:
    """The activations of a neuron over the examples that share something."""

    label: str
    activations: Array


def neuron_text(row: dict[str, Any]) -> str:
    """How a neuron is named: `layer 3 neuron 17`, and its token where tokens are kept."""
    token = "" if row.get("token") is None else f" token {row['token']}"
    return f"layer {row['layer']} neuron {row['neuron']}{token}"


def level_names(column: pl.Series) -> list[str | None]:
    """The values of a column of examples as they are named in populations; of `choices` it is how many there are."""
    values = column.list.len() if column.name == "choices" else column
    return [None if value is None else level_name(value) for value in values.to_list()]


class Traces:
    """The traced examples of a run (of its first soft prompt, where there are several).

    Raises:
        InputError: the run has not been traced.
    """

    def __init__(self, run: RunReader) -> None:
        self.run = run.prompts()[0]
        if not self.run.folder.exists(ACTIVATIONS_NAME):
            raise InputError(f"the run at {run.uri} has no traced activations: submit it again to go on with it")
        self._activations = self.run.activations().collect()
        ids = self._activations.select(pl.col("example_id").unique(maintain_order=True))
        traced = ids.lazy()
        examples, scores = (
            frame.join(traced, on="example_id", how="semi").collect()
            for frame in (self.run.examples(), self.run.scores().drop("half"))
        )
        self.examples = ids.join(examples, on="example_id", how="left", maintain_order="left").join(
            scores, on="example_id", how="left", maintain_order="left"
        )

    @cached_property
    def _top(self) -> pl.DataFrame:
        return self.run.strongest().filter(pl.col("population") == ALL).collect()

    def top(self, metric: str) -> dict[str, Any] | None:
        """The neuron of largest |r| with `metric` over `all`, as a row of `correlations`; None if r is undefined."""
        return next(self._top.filter(pl.col("metric") == metric).head(1).iter_rows(named=True), None)

    def activations(self, neuron: dict[str, Any]) -> Array | None:
        """Of each example, in order; None if the neuron is not among the traced."""
        same = (pl.col("layer") == neuron["layer"]) & (pl.col("neuron") == neuron["neuron"])
        if neuron.get("token") is not None:
            same &= pl.col("token") == neuron["token"]
        found = self._activations.filter(same)
        if found.is_empty() or self.examples.is_empty():
            return None
        return found["activation"].head(len(self.examples)).to_numpy()

    def values(self, metric: str) -> Array:
        """The metric of each example; NaN where it has none."""
        columns = self.examples.columns
        if metric == "choices":
            found = self.examples["choices"].list.len()
        elif metric in columns:
            found = self.examples[metric]
        else:
            column, level = next(
                (metric[:place], metric[place + 1 :])
                for place, sign in enumerate(metric)
                if sign == "=" and metric[:place] in columns
            )
            found = self.examples[column].map_elements(level_name, pl.String) == level
        return np.array(found.cast(pl.Float64).fill_null(np.nan).to_numpy())

    def by_metric(self, metric: str, activations: Array, among: NDArray[np.bool_] | None = None) -> list[Group]:
        """The activations by the values of a metric, of a number with many values by its thirds."""
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
        """The activations by the values of a column of the examples, those without one left out."""
        names = level_names(self.examples[column])
        return [
            Group(level, activations[np.array([name == level for name in names])])
            for level in sorted({name for name in names if name is not None})
        ]


def density(groups: Sequence[Group]) -> tuple[Array, list[Array | None]]:
    """A grid over the activations of all groups, and the density of each on it by a Gaussian kernel (Scott's rule).

    None where a group has fewer than three examples or does not vary.
    """
    everything = np.concatenate([group.activations for group in groups])
    low, high = np.quantile(everything, [0.005, 0.995])
    margin = 0.1 * (high - low) or 1e-6
    grid = np.linspace(low - margin, high + margin, GRID)
    curves: list[Array | None] = []
    for group in groups:
        varies = len(group.activations) > 2 and float(np.ptp(group.activations)) > 0
        curves.append(np.asarray(gaussian_kde(group.activations)(grid)) if varies else None)
    return grid, curves
