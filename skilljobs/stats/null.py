"""The null: metrics that are independent of every neuron by construction, and the threshold they give.

Two families. Random signs stand for metrics whose values are spread out. A metric that is zero nearly everywhere, or
has a long tail, reaches a larger |r| by chance with the long-tailed activations of a network: for such metrics a second
family is drawn from the values of the most skewed of them. Both are constant within a unit.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from skilljobs.hashing import stable_digest
from skilljobs.stats.layout import NULL, NULL_SKEWED, Metric

Array = NDArray[np.float64]

SKEWED = 4.0
"""Absolute skewness from which random signs no longer stand for a metric: that of a 0/1 metric with 6 % of ones.
On the activations of the tiny model random 0/1 metrics exceeded the 5 % threshold of signs in 9 % of cases with 10 % of
ones, in 20 % with 5 %, and in a third with 2 %."""
_MOST_VALUES = 4096
_BYTES_PER_DIGEST = 64


def null_metrics(count: int, skewed: bool = False) -> list[Metric]:
    """`count` metrics of random signs and, where `skewed`, as many with the values of a skewed metric."""
    names = [f"{NULL}{k}" for k in range(count)] + [f"{NULL_SKEWED}{k}" for k in range(count) if skewed]
    return [Metric(name, "null", nullable=False) for name in names]


def null_signs(units: Sequence[str], count: int) -> Array:
    """Rademacher signs, units x count: a hash of the unit and k, so that examples of one unit share their sign.

    A null drawn per example is exceeded nearly always when examples repeat a unit.
    """
    bits = np.unpackbits(_hashed(units, "null", -(-count // 8)), axis=1)[:, :count]
    return np.where(bits, 1.0, -1.0)


def null_draws(units: Sequence[str], count: int, values: Array) -> Array:
    """Draws from `values` with replacement, units x count, by a hash of the unit and k."""
    numbers = _hashed(units, "null drawn", 8 * count).view("<u8")
    return np.asarray(values[(numbers % len(values)).astype(np.int64)], np.float64)


def most_skewed(metrics: Mapping[str, Array]) -> Array | None:
    """The values of the most skewed metric, at most 4,096 of its quantiles; None where no metric is skewed."""
    name = max(metrics, key=lambda name: abs(skewness(metrics[name])), default=None)
    if name is None or not is_skewed(skewness(metrics[name])):
        return None
    values = np.sort(metrics[name][~np.isnan(metrics[name])])
    places = (np.arange(min(len(values), _MOST_VALUES)) + 0.5) / min(len(values), _MOST_VALUES) * len(values)
    return np.asarray(values[places.astype(np.int64)])


def skewness(values: Array) -> float:
    """Skewness of the values that are not NaN; 0 where they do not vary."""
    present = values[~np.isnan(values)]
    if len(present) == 0 or np.ptp(present) == 0:
        return 0.0
    scaled = (present - present.mean()) / present.std()
    return float(np.mean(scaled**3))


def is_skewed(skewness: float) -> bool:
    return abs(skewness) > SKEWED


def family_wise_threshold(maxima: Sequence[float], level: float = 0.95) -> float | None:
    """The `level` point of max |r| over the model across the null metrics; None without any.

    The estimate is the order statistic at level x (K + 1), which a further draw exceeds with probability 1 - level;
    with fewer than 19 draws it is the largest, exceeded with probability 1 / (K + 1).
    """
    if not maxima:
        return None
    return float(np.quantile(np.asarray(maxima, np.float64), level, method="weibull"))


def _hashed(units: Sequence[str], label: str, size: int) -> NDArray[np.uint8]:
    """Random bytes that depend on the label and the unit, units x size."""
    blocks = range(math.ceil(size / _BYTES_PER_DIGEST))
    digests = [
        b"".join(stable_digest(label, unit, block, size=_BYTES_PER_DIGEST) for block in blocks) for unit in units
    ]
    return np.frombuffer(b"".join(digests), np.uint8).reshape(len(units), -1)[:, :size].copy()
