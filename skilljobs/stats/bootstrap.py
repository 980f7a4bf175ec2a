"""Intervals of means over examples that are not independent: whole units are drawn again."""

import numpy as np
from numpy.typing import NDArray

from skilljobs.hashing import stable_hash

Array = NDArray[np.float64]

RESAMPLES = 2000
_AT_ONCE = 1 << 22
"""Weights of units held at a time."""


def interval_over_units(values: Array, units: NDArray[np.int64], seed: int) -> tuple[Array, Array]:
    """The 95 % percentile interval of the mean of each column of `values`, by drawing units with replacement.

    `values` is examples x S, `units` the number of each example's unit. NaN with fewer than two units.
    """
    _, codes = np.unique(units, return_inverse=True)
    count = int(codes.max(initial=-1)) + 1
    if count < 2:
        missing = np.full(values.shape[1], np.nan)
        return missing, missing
    sums = np.zeros((count, values.shape[1]))
    np.add.at(sums, codes, values)
    sizes = np.bincount(codes, minlength=count).astype(np.float64)
    rng = np.random.default_rng(stable_hash("bootstrap", seed))
    means, left = [], RESAMPLES
    while left:
        part = min(left, max(1, _AT_ONCE // count))
        drawn = rng.integers(count, size=(part, count)) + count * np.arange(part)[:, None]
        weights = np.bincount(drawn.ravel(), minlength=part * count).reshape(part, count).astype(np.float64)
        means.append((weights @ sums) / (weights @ sizes)[:, None])
        left -= part
    low, high = np.quantile(np.concatenate(means), [0.025, 0.975], axis=0)
    return low, high
