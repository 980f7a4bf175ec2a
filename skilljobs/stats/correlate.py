"""Computing correlations from sums: r, confidence interval, p and q.

r is Pearson's; with a 0/1 metric it is the point-biserial correlation. p and the interval assume independent rows.
SciPy is imported only where it is called, because scorers import this module but call nothing that needs SciPy.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

INDISTINGUISHABLE = 2.0**-38
"""A centred sum of squares below this fraction of the raw one is attributed to rounding: the values cannot be
distinguished from a constant. The rounding error of a constant's sums stays below it for 10,000 successive additions.
"""

NUMBERS = ("r", "ci_low", "ci_high", "p", "q", "r_half0", "r_half1", "activation_mean", "activation_std")
"""The numeric columns of `correlations`, in order."""
STRENGTHS = ("r", "r_half0", "r_half1", "activation_mean", "activation_std")
"""Those that follow from the sums of a layer; the others follow from r, q from that of all layers."""

Z_95 = 1.959963984540054


@dataclass(frozen=True)
class Centred:
    """Sums of squares and products about the means, for one metric and population. Groups are pooled by addition."""

    n: int
    fitted: int
    """Number of means and coefficients that were fitted: one for each group, and one for each metric held fixed."""
    activation_square: Array
    metric_square: float
    product: Array
    activation_mean: Array

    @classmethod
    def of(
        cls, n: int, sum_a: Array, sum_aa: Array, sum_ay: Array, sum_y: float, sum_yy: float, reference: Array
    ) -> Self:
        """Compute the centred sums from raw sums about fixed references.

        `reference` is the reference of the activations.
        """
        if n == 0:
            zero = np.zeros_like(sum_a)
            return cls(0, 0, zero, 0.0, zero, np.full_like(sum_a, np.nan))
        mean = sum_a / n
        activation_square = _centred_square(sum_aa, sum_a * mean)
        metric_square = _metric_square(n, sum_y, sum_yy)
        return cls(n, 1, activation_square, metric_square, sum_ay - mean * sum_y, reference + mean)

    def of_metric(self, sum_a: Array, sum_ay: Array, sum_y: float, sum_yy: float) -> Self:
        """The centred sums of another metric of the same rows, whose raw sums are given."""
        if self.n == 0:
            return self
        product = sum_ay - sum_a / self.n * sum_y
        return replace(self, metric_square=_metric_square(self.n, sum_y, sum_yy), product=product)

    @classmethod
    def pooled(cls, parts: Iterable[Self]) -> Self:
        """Return the sums within groups, each group centred about its own mean. Groups without rows are ignored."""
        parts = list(parts)
        filled = [part for part in parts if part.n]
        if not filled:
            return parts[0]
        n = sum(part.n for part in filled)
        return cls(
            n,
            len(filled),
            sum_in_order(part.activation_square for part in filled),
            sum(part.metric_square for part in filled),
            sum_in_order(part.product for part in filled),
            sum_in_order(part.n * part.activation_mean for part in filled) / n,
        )

    @property
    def degrees_of_freedom(self) -> int:
        """n - 2, minus one for each fitted mean or coefficient beyond the first mean."""
        return self.n - 1 - self.fitted

    @property
    def activation_std(self) -> Array:
        """Sample standard deviation of the residual activations; NaN unless n exceeds `fitted`."""
        if self.n <= self.fitted:
            return np.full_like(self.activation_square, np.nan)
        return np.sqrt(self.activation_square / (self.n - self.fitted))

    def r(self) -> Array:
        """Return the correlation of each neuron, in [-1, 1].

        It is NaN where the neuron or the metric is constant, and if there are fewer than two rows.
        """
        scale = np.sqrt(self.activation_square) * np.sqrt(self.metric_square)
        defined = (scale > 0) & (self.degrees_of_freedom >= 0)
        r = np.divide(self.product, scale, out=np.full_like(scale, np.nan), where=defined)
        return np.asarray(np.clip(r, -1.0, 1.0))


def strongest_first(r: Array, count: int) -> NDArray[np.intp]:
    """Return the indices of the `count` largest |r| in descending order.

    Ties keep their order. Undefined values (NaN) are left out.
    """
    strength = np.nan_to_num(np.abs(r), nan=-1.0)
    places = np.arange(len(strength))
    if count < len(strength):  # sorting all of them to take a few is slow
        least = np.partition(strength, -count)[-count]
        places = np.flatnonzero(strength >= least)
    order = places[np.argsort(-strength[places], kind="stable")[:count]]
    return order[strength[order] >= 0]


def _centred_square(raw: Array | np.float64, correction: Array | np.float64) -> Array:
    """Return the sum of squares about the mean, exactly 0 where it cannot be distinguished from rounding error."""
    centred = raw - correction
    return np.where(centred > INDISTINGUISHABLE * raw, centred, 0.0)


def _metric_square(n: int, sum_y: float, sum_yy: float) -> float:
    return float(_centred_square(np.float64(sum_yy), np.float64(sum_y * (sum_y / n))))


def sum_in_order(arrays: Iterable[Array]) -> Array:
    """Return the sum of at least one array, added one by one in the given order."""
    iterator = iter(arrays)
    total = next(iterator).copy()
    for array in iterator:
        total += array
    return total


def interval(r: Array, degrees_of_freedom: int) -> tuple[Array, Array]:
    """Return the bounds of the 95 % confidence interval by Fisher's z (Fisher 1921).

    They are NaN where r is NaN, and everywhere with fewer than 4 independent rows.
    """
    if degrees_of_freedom < 2:
        return np.full_like(r, np.nan), np.full_like(r, np.nan)
    with np.errstate(divide="ignore"):
        z = np.arctanh(r)
    half_width = Z_95 / np.sqrt(degrees_of_freedom - 1)
    return np.tanh(z - half_width), np.tanh(z + half_width)


def p_value(r: Array, degrees_of_freedom: int) -> Array:
    """Return the two-sided p of r = 0 by Student's t; NaN where r is NaN, and everywhere without degrees of freedom."""
    from scipy.special import stdtr

    if degrees_of_freedom < 1:
        return np.full_like(r, np.nan)
    with np.errstate(divide="ignore"):
        t = np.abs(r) * np.sqrt(degrees_of_freedom / ((1 - r) * (1 + r)))
    return np.asarray(2 * stdtr(degrees_of_freedom, -t), np.float64)


def strengths(whole: Centred, halves: Sequence[Centred | None]) -> dict[str, Array]:
    """Return the columns `STRENGTHS` of `correlations`, one value per neuron, with NaN for null.

    `halves` are the sums of half 0 and half 1, None where there are none.
    """
    r = whole.r()
    half_r = [np.full_like(r, np.nan) if half is None else half.r() for half in halves]
    values = (r, *half_r, whole.activation_mean, whole.activation_std)
    return dict(zip(STRENGTHS, values, strict=True))


def with_significance(
    columns: Mapping[str, Array], degrees_of_freedom: int, p: Array | None = None, q: Array | None = None
) -> dict[str, Array]:
    """Return all numeric columns of `correlations` from `STRENGTHS`, in their order; others stay behind them.

    p is computed if it is not given, and q is NaN.
    """
    low, high = interval(columns["r"], degrees_of_freedom)
    added = {
        "ci_low": low,
        "ci_high": high,
        "p": p_value(columns["r"], degrees_of_freedom) if p is None else p,
        "q": np.full_like(columns["r"], np.nan) if q is None else q,
    }
    return {name: {**columns, **added}[name] for name in (*NUMBERS, *(n for n in columns if n not in NUMBERS))}


def correlation_columns(whole: Centred, halves: Sequence[Centred | None]) -> dict[str, Array]:
    """Return the numeric columns of `correlations`, one value per neuron, with NaN for null. q is left NaN.

    `halves` are the sums of half 0 and half 1, None where there are none.
    """
    return with_significance(strengths(whole, halves), whole.degrees_of_freedom)


def best_tokens(r: Array, p: Array) -> tuple[NDArray[np.int64], Array]:
    """Return each neuron's token with the largest |r|, and its p corrected for the number of tokens.

    The correction is Bonferroni's: p times the number of tokens where r is defined, at most 1. `r` and `p` are tokens x
    neurons, NaN where undefined. Where r is undefined at every token, the token is -1 and p is NaN.
    """
    strength = np.where(np.isnan(r), -1.0, np.abs(r))
    token = strength.argmax(0)
    columns = np.arange(r.shape[1])
    corrected = np.minimum(1.0, p[token, columns] * (~np.isnan(r)).sum(0))
    undefined = strength[token, columns] < 0
    return np.where(undefined, -1, token), np.where(undefined, np.nan, corrected)


def false_discovery_rate(p: Array) -> Array:
    """Return the q of each p (Benjamini & Hochberg 1995). NaN stays NaN and is not counted as a test."""
    from scipy.stats import false_discovery_control

    q = np.full_like(p, np.nan)
    tested = ~np.isnan(p)
    if tested.any():
        q[tested] = false_discovery_control(p[tested], method="bh")
    return q
