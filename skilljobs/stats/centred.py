"""Sums of squares and products about the means, from which a correlation follows."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

INDISTINGUISHABLE = 2.0**-38
"""A centred sum of squares below this fraction of the raw one is attributed to rounding: the values cannot be
distinguished from a constant. The rounding error of a constant's sums stays below it for 10,000 successive additions.
"""


@dataclass(frozen=True)
class Activations:
    """What activations contribute, a value for each neuron: it is the same for all metrics of the same rows."""

    n: int
    fitted: int
    """Number of means and coefficients that were fitted: one for each group, and one for each metric held fixed."""
    square: Array
    """Sums of squares about the means."""
    mean: Array

    @cached_property
    def root(self) -> Array:
        """The square roots of `square`."""
        return np.sqrt(self.square)

    @cached_property
    def std(self) -> Array:
        """Sample standard deviation of the residual activations; NaN unless n exceeds `fitted`."""
        if self.n <= self.fitted:
            return np.full_like(self.square, np.nan)
        return np.sqrt(self.square / (self.n - self.fitted))

    @classmethod
    def pooled(cls, groups: Sequence[Self]) -> Self:
        """Those within groups, which all have rows."""
        n = sum(group.n for group in groups)
        mean = sum_in_order(group.n * group.mean for group in groups) / n
        return cls(n, len(groups), sum_in_order(group.square for group in groups), mean)


@dataclass(frozen=True)
class Centred:
    """Sums of squares and products about the means, for one metric and population. Groups are pooled by addition."""

    activations: Activations
    metric_square: float
    product: Array

    @classmethod
    def of(
        cls, n: int, sum_a: Array, sum_aa: Array, sum_ay: Array, sum_y: float, sum_yy: float, reference: Array
    ) -> Self:
        """Compute the centred sums from raw sums about fixed references.

        `reference` is the reference of the activations.
        """
        if n == 0:
            zero = np.zeros_like(sum_a)
            return cls(Activations(0, 0, zero, np.full_like(sum_a, np.nan)), 0.0, zero)
        mean = sum_a / n
        activations = Activations(n, 1, _centred_square(sum_aa, sum_a * mean), reference + mean)
        return cls(activations, metric_square(n, sum_y, sum_yy), sum_ay - mean * sum_y)

    def of_metric(self, mean: Array, sum_ay: Array, sum_y: float, sum_yy: float) -> Self:
        """The centred sums of another metric of the same rows.

        Its raw sums are given, and the mean of the activations about their reference.
        """
        if self.n == 0:
            return self
        return replace(self, metric_square=metric_square(self.n, sum_y, sum_yy), product=sum_ay - mean * sum_y)

    @classmethod
    def pooled(cls, parts: Iterable[Self], activations: Activations | None = None) -> Self:
        """Return the sums within groups, each group centred about its own mean. Groups without rows are ignored.

        `activations` are those within the groups, if they are known.
        """
        parts = list(parts)
        filled = [part for part in parts if part.n]
        if not filled:
            return parts[0]
        return cls(
            activations or Activations.pooled([part.activations for part in filled]),
            sum(part.metric_square for part in filled),
            sum_in_order(part.product for part in filled),
        )

    @property
    def n(self) -> int:
        """The number of rows."""
        return self.activations.n

    @property
    def degrees_of_freedom(self) -> int:
        """n - 2, minus one for each fitted mean or coefficient beyond the first mean."""
        return self.n - 1 - self.activations.fitted

    def r(self) -> Array:
        """Return the correlation of each neuron, in [-1, 1].

        It is NaN where the neuron or the metric is constant, and if there are fewer than two rows.
        """
        if self.degrees_of_freedom < 0:
            return np.full_like(self.product, np.nan)
        scale = self.activations.root * np.sqrt(self.metric_square)
        with np.errstate(divide="ignore", invalid="ignore"):
            r = self.product / scale
        np.copyto(r, np.nan, where=~(scale > 0))
        return np.asarray(np.clip(r, -1.0, 1.0, out=r))


def sum_in_order(arrays: Iterable[Array]) -> Array:
    """Return the sum of at least one array, added one by one in the given order."""
    iterator = iter(arrays)
    total = next(iterator).copy()
    for array in iterator:
        total += array
    return total


def _centred_square(raw: Array | np.float64, correction: Array | np.float64) -> Array:
    """Return the sum of squares about the mean, exactly 0 where it cannot be distinguished from rounding error."""
    centred = raw - correction
    return np.where(centred > INDISTINGUISHABLE * raw, centred, 0.0)


def metric_square(n: int, sum_y: float, sum_yy: float) -> float:
    """Return a metric's sum of squares about its mean over `n` rows, exactly 0 if it cannot be told from a constant."""
    return float(_centred_square(np.float64(sum_yy), np.float64(sum_y * (sum_y / n))))
