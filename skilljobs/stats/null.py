"""The null: metrics that are independent of every neuron by construction, and the threshold they give."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from skilljobs.hashing import stable_digest
from skilljobs.stats.layout import NULL, Metric

_BITS_PER_DIGEST = 512


def null_metrics(count: int) -> list[Metric]:
    return [Metric(f"{NULL}{k}", "null", nullable=False) for k in range(count)]


def null_signs(units: Sequence[str], count: int) -> NDArray[np.float64]:
    """Rademacher signs, units x count: a hash of the unit and k, so that examples of one unit share their sign.

    A null drawn per example is exceeded nearly always when examples repeat a unit.
    """
    blocks = range((count + _BITS_PER_DIGEST - 1) // _BITS_PER_DIGEST)
    digests = [
        b"".join(stable_digest("null", unit, block, size=_BITS_PER_DIGEST // 8) for block in blocks) for unit in units
    ]
    bits = np.unpackbits(np.frombuffer(b"".join(digests), np.uint8).reshape(len(units), -1), axis=1)[:, :count]
    return np.where(bits, 1.0, -1.0)


def family_wise_threshold(maxima: Sequence[float], level: float = 0.95) -> float | None:
    """The `level` point of max |r| over the model across the null metrics; None without any.

    The estimate is the order statistic at level x (K + 1), which a further draw exceeds with probability 1 - level;
    with fewer than 19 draws it is the largest, exceeded with probability 1 / (K + 1).
    """
    if not maxima:
        return None
    return float(np.quantile(np.asarray(maxima, np.float64), level, method="weibull"))
