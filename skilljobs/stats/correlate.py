"""Computing correlations from sums: r, confidence interval, p and q.

r is Pearson's; with a 0/1 metric it is the point-biserial correlation. p and the interval assume independent rows.
SciPy is imported only where it is called, because scorers import this module but call nothing that needs SciPy.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from skilljobs.stats.centred import Centred

Array = NDArray[np.float64]

NUMBERS = ("r", "ci_low", "ci_high", "p", "q", "r_half0", "r_half1", "activation_mean", "activation_std")
"""The numeric columns of `correlations`, in order."""
STRENGTHS = ("r", "r_half0", "r_half1", "activation_mean", "activation_std")
"""Those that follow from the sums of a layer; the others follow from r, q from that of all layers."""

Z_95 = 1.959963984540054


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
    values = (r, *half_r, whole.activations.mean, whole.activations.std)
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
