"""Predictivity: how well "the activation is above its threshold" predicts a yes/no metric.

Wang et al. 2022, "Finding Skill Neurons in Pre-trained Transformer-based Language Models", arXiv 2211.07349, section 3:
the threshold of a neuron at a prompt position is its mean activation there over the training examples; its predictivity
is how far the accuracy of that prediction is from 1/2. The counts of examples above the threshold, and of those among
them whose metric is yes, add up over shards like any sums.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from skilljobs.stats.answers import EXACT
from skilljobs.stats.layout import Layout
from skilljobs.stats.long_columns import Column, parts_of
from skilljobs.stats.totals import LayerSums, Moments

Array = NDArray[np.float64]
PREDICTIVITY = "predictivity"
COLUMNS = (PREDICTIVITY, "predictivity_token")
"""What the statistic adds to `correlations`."""
YES_NO_SCORES = frozenset(("correct", "correct_mean", EXACT))


def yes_no_metrics(layout: Layout, external: Mapping[str, Column]) -> tuple[str, ...]:
    """The metrics of `layout` that are yes or no, in its order.

    `external` has the values of each external metric over all test examples, NaN where there is none.
    """
    return tuple(
        metric.name
        for metric in layout.metrics
        if (metric.kind == "model" and metric.name in YES_NO_SCORES)
        or (metric.kind == "external" and is_yes_no(external[metric.name]))
    )


def is_yes_no(values: Column) -> bool:
    """Whether a metric is 0 or 1 in all examples that have it; NaN stands for those that do not."""
    return all(np.isin(part[~np.isnan(part)], (0.0, 1.0)).all() for part in parts_of(values))


def above_layout(layout: Layout, yes_no: Sequence[str]) -> Layout:
    """The layout of the counts: the metrics `yes_no` alone."""
    return replace(layout, metrics=tuple(metric for metric in layout.metrics if metric.name in yes_no))


def accuracy(layout: Layout, counts: LayerSums, moments: Moments, metric: str, population: str) -> Array:
    """Return how often "above its threshold" equals `metric`, for each neuron and token (tokens x neurons, flat).

    NaN where the metric, or the side of the threshold, is the same for all examples: nothing is predicted there.

    Args:
        layout: that of the counts, see `above_layout`.
        counts: of examples above the threshold, in the columns of sums.
        moments: of the run's metrics.
    """
    suffix = f":{metric}" if any(m.name == metric and m.nullable for m in layout.metrics) else ""
    n, yes = 0, 0.0
    above, both = np.zeros(counts.rows), np.zeros(counts.rows)
    for member in layout.members_of(population):
        place = layout.populations.index(member)
        member_n, member_yes, _, _ = moments.pair(member, metric, metric)
        n, yes = n + member_n, yes + member_yes
        above += counts.column(f"sum_a{suffix}", place)
        both += counts.column(f"sum_ay:{metric}", place)
    if yes in (0, n):
        return np.full_like(above, np.nan)
    right = (n - yes - above + 2 * both) / n
    return np.where((above == 0) | (above == n), np.nan, right)


def predictivity_columns(halves: Sequence[Array | None], tokens: int, keeps_tokens: bool) -> dict[str, Array]:
    """Return the columns `COLUMNS` for each row of `correlations`: NaN for null.

    Predictivity is measured on half 1. With one row a neuron, it is that of the token that predicts best on half 0.

    Args:
        halves: the `accuracy` on half 0 and on half 1, None for a half without examples.
        tokens: how many tokens were counted for each neuron.
        keeps_tokens: whether each token has a row of its own.
    """
    first, second = (None if half is None else np.abs(half - 0.5).reshape(tokens, -1) for half in halves)
    neurons = next((half.shape[1] for half in (first, second) if half is not None), 0)
    nothing = np.full((tokens, neurons), np.nan)
    second = nothing if second is None else second
    if keeps_tokens:
        return dict(zip(COLUMNS, (second.ravel(), np.repeat(np.arange(tokens, dtype=float), neurons)), strict=True))
    strength = np.where(np.isnan(first), -1.0, first) if first is not None else np.full_like(nothing, -1.0)
    token = strength.argmax(0)
    columns = np.arange(neurons)
    is_unknown = strength[token, columns] < 0
    return dict(
        zip(
            COLUMNS,
            (np.where(is_unknown, np.nan, second[token, columns]), np.where(is_unknown, np.nan, token.astype(float))),
            strict=True,
        )
    )
