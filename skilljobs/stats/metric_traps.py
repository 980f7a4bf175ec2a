"""What makes correlations with a metric mislead: it is nearly another metric, or has hardly any rows of one kind."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from shlex import quote

import numpy as np
from numpy.typing import NDArray

from skilljobs.stats.layout import Metric
from skilljobs.stats.long_columns import Column, parts_of
from skilljobs.stats.predictivity import is_yes_no

Array = NDArray[np.float64]

NEARLY_SAME = 0.95
"""Metrics whose |r| is above this have the same top neurons for the most part."""
FEWEST = 5
"""With fewer rows of either kind than this, a yes/no metric reaches a large |r| with many neurons by chance."""
_EXACT = 1 - 1e-9
ROWS_AT_A_TIME = 1 << 16


@dataclass(frozen=True)
class NearPair:
    """Two metrics that are nearly the same, or each other's opposite."""

    first: str
    second: str
    r: float

    @property
    def sentence(self) -> str:
        """What they are to each other, and what to do."""
        if abs(self.r) > _EXACT:
            same = "the same metric" if self.r > 0 else "each other's opposite"
            return f"{self.first} and {self.second} are {same}, up to scale: they have the same neurons"
        return (
            f"{self.first} and {self.second} are nearly the same metric (r = {self.r:+.3f}): what is left of one"
            f" without the other, `top --metric {quote(self.first)} --given {quote(self.second)}` shows"
        )


@dataclass(frozen=True)
class RareKind:
    """A yes/no metric with fewer than `FEWEST` rows of either kind."""

    metric: str
    rows: int
    """Rows of the rarer kind, added up over groups if they are pooled."""
    n: int
    is_yes: bool | None
    """Whether the rarer kind is yes; None where that may differ between groups."""

    @property
    def text(self) -> str:
        """How few rows they are."""
        if self.is_yes is None:
            return f"only {self.rows} of {self.n:,} differ from the others of their group"
        return f"{'yes' if self.is_yes else 'no'} for only {self.rows} of {self.n:,}"

    @property
    def sentence(self) -> str:
        """How few rows they are, and what follows."""
        verb = ":" if self.is_yes is None else " is"
        return (
            f"{self.metric}{verb} {self.text}: any neuron that happens to be extreme there correlates strongly, so its"
            " r says little"
        )


def near_pairs(metrics: Sequence[Metric], r: Callable[[str, str], float | None]) -> list[NearPair]:
    """Return each pair of `metrics` that are nearly the same once, strongest first. Null metrics are left out.

    Of a category with two levels, which are each other's opposite, only the first is compared with others. Levels of
    one category exclude each other, so that they are told only where they go together.

    Args:
        r: the correlation of two metrics by name, None if it is undefined.
    """
    kept: list[Metric] = []
    pairs: list[NearPair] = []
    for metric in metrics:
        if metric.kind == "null":
            continue
        found: list[NearPair] = []
        for earlier in kept:
            value = r(earlier.name, metric.name)
            if value is None or abs(value) <= NEARLY_SAME:
                continue
            if value < 0 and metric.level is not None and metric.column == earlier.column:
                if value < -_EXACT:
                    break
                continue
            found.append(NearPair(earlier.name, metric.name, value))
        else:
            kept.append(metric)
            pairs += found
    return sorted(pairs, key=lambda pair: -round(abs(pair.r), 9))


def pairwise_r(columns: Sequence[Column]) -> Array:
    """Return the correlation of each pair of metrics over the rows that have both, M x M; NaN where it is undefined.

    `columns` has the values of each metric, with NaN where a row has none. They are added up block by block.
    """
    rows, width = len(columns[0]) if columns else 0, len(columns)
    blocks = [slice(start, start + ROWS_AT_A_TIME) for start in range(0, rows, ROWS_AT_A_TIME)]
    lowest, highest = np.full(width, np.inf), np.full(width, -np.inf)
    total, count = np.zeros(width), np.zeros(width)
    for block in blocks:
        values = np.stack([c[block] for c in columns], 1)
        lowest, highest = np.fmin(lowest, np.fmin.reduce(values)), np.fmax(highest, np.fmax.reduce(values))
        total, count = total + np.nansum(values, axis=0), count + (~np.isnan(values)).sum(0)
    spread = highest - lowest
    scale = np.where(np.isfinite(spread) & (spread > 0), spread, 1.0)
    mean = total / np.maximum(count, 1)
    n, sums, squares, products = np.zeros((4, width, width))
    for block in blocks:
        values = np.stack([c[block] for c in columns], 1)
        has = (~np.isnan(values)).astype(np.float64)
        centred = np.where(has > 0, (values - mean) / scale, 0.0)
        n, sums, squares = n + has.T @ has, sums + centred.T @ has, squares + np.square(centred).T @ has
        products = products + centred.T @ centred
    with np.errstate(divide="ignore", invalid="ignore"):
        left = squares - np.square(sums) / n
        left = np.where(left > 1e-12 * n, left, np.nan)
        return np.asarray((products - sums * sums.T / n) / np.sqrt(left * left.T))


def rare_kind(metric: str, counts: Sequence[tuple[int, int]]) -> RareKind | None:
    """Return how few rows of its rarer kind a yes/no metric has, or None if they suffice.

    A metric that is constant has no correlations to mislead.

    Args:
        counts: in how many rows it is yes, and how many there are, for each group that is pooled.
    """
    rows, n = sum(min(yes, n - yes) for yes, n in counts), sum(n for _, n in counts)
    is_yes = counts[0][0] <= counts[0][1] / 2 if len(counts) == 1 else None
    return RareKind(metric, rows, n, is_yes) if 0 < rows < FEWEST else None


def yes_no_counts(values: Column) -> list[tuple[int, int]]:
    """Return in how many rows a metric is yes, and how many have a value; nothing if it is not yes/no.

    `values` has NaN where a row has no value.
    """
    if not is_yes_no(values):
        return []
    parts = [(np.nansum(part), np.count_nonzero(~np.isnan(part))) for part in parts_of(values)]
    return [(int(sum(yes for yes, _ in parts)), int(sum(n for _, n in parts)))]
