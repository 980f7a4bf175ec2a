"""Null metrics, which are independent of every neuron by construction, and the threshold that they give.

There are two families. Random signs represent metrics whose values are spread out. A metric that is zero nearly
everywhere, or has a long tail, reaches a larger |r| by chance with the long-tailed activations of a network; for such
metrics, a second family is drawn from the values of the most skewed one. Both are constant within a unit.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from skilljobs.hashing import stable_digest
from skilljobs.stats.layout import NULL, NULL_SKEWED, Metric
from skilljobs.stats.long_columns import Column, order_statistics, parts_of, present, total

Array = NDArray[np.float64]

SKEWED = 4.0
"""The absolute skewness above which random signs no longer represent a metric: that of a 0/1 metric with 6 % of ones.
On the activations of the tiny model, random 0/1 metrics exceeded the 5 % threshold of signs in 9 % of cases with 10 %
of ones, in 20 % with 5 %, and in a third with 2 %."""
_MAX_VALUES = 4096
_BYTES_PER_DIGEST = 64


def null_metrics(count: int, skewed: bool = False) -> list[Metric]:
    """Return `count` metrics of random signs and, if `skewed`, as many with the values of a skewed metric."""
    names = [f"{NULL}{k}" for k in range(count)] + [f"{NULL_SKEWED}{k}" for k in range(count) if skewed]
    return [Metric(name, "null", nullable=False) for name in names]


def null_signs(units: Sequence[str], count: int) -> Array:
    """Return Rademacher signs, units x count, from a hash of the unit and the number of the null metric.

    All examples of a unit share their signs: the threshold of a null drawn per example is nearly always exceeded when
    units repeat.
    """
    if count == 0:
        return np.zeros((len(units), 0))
    bits = np.unpackbits(_hashed(units, "null", -(-count // 8)), axis=1)[:, :count]
    return np.where(bits, 1.0, -1.0)


def null_draws(units: Sequence[str], count: int, values: Array) -> Array:
    """Return draws from `values` with replacement, units x count, by a hash of the unit and the number of the draw."""
    numbers = _hashed(units, "null drawn", 8 * count).view("<u8")
    return np.asarray(values[(numbers % len(values)).astype(np.int64)], np.float64)


def most_skewed(metrics: Mapping[str, Column]) -> Array | None:
    """Return the values of the most skewed metric, or 4,096 quantiles if it has more; None if no metric is skewed."""
    skewnesses = {name: skewness(column) for name, column in metrics.items()}
    name = max(skewnesses, key=lambda name: abs(skewnesses[name]), default=None)
    if name is None or not is_skewed(skewnesses[name]):
        return None
    values = present(metrics[name])
    ranks = (np.arange(min(len(values), _MAX_VALUES)) + 0.5) / min(len(values), _MAX_VALUES) * len(values)
    return order_statistics(values, ranks.astype(np.int64))


def skewness(values: Column) -> float:
    """Return the skewness of the values that are not NaN, or 0 if they do not vary."""
    values = present(values)
    n = len(values)
    if all((part == values[:1]).all() for part in parts_of(values)):
        return 0.0
    mean = total(values) / n
    deviation = math.sqrt(total(values, lambda part: np.square(part - mean)) / n)
    return total(values, lambda part: ((part - mean) / deviation) ** 3) / n


def is_skewed(skewness: float) -> bool:
    """Return whether random signs no longer represent a metric of this skewness."""
    return abs(skewness) > SKEWED


def family_wise_threshold(maxima: Sequence[float], level: float = 0.95) -> float | None:
    """Return the `level` quantile, over the null metrics, of the largest |r| in the model; None without null metrics.

    `maxima` has the largest |r| of each of the K null metrics. The estimate is the order statistic at level x (K + 1),
    which a further draw exceeds with probability 1 - level. At the default level, with fewer than 19 draws it is the
    largest of them, which a further draw exceeds with probability 1 / (K + 1).
    """
    if not maxima:
        return None
    return float(np.quantile(np.asarray(maxima, np.float64), level, method="weibull"))


def _hashed(units: Sequence[str], label: str, size: int) -> NDArray[np.uint8]:
    """Return pseudo-random bytes that depend on the label and the unit, units x size."""
    blocks = range(math.ceil(size / _BYTES_PER_DIGEST))
    digests = [
        b"".join(stable_digest(label, unit, block, size=_BYTES_PER_DIGEST) for block in blocks) for unit in units
    ]
    return np.frombuffer(b"".join(digests), np.uint8).reshape(len(units), -1)[:, :size].copy()
