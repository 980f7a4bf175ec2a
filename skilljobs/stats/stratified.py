"""How much more often something happens to examples with a property than to those without it, within strata."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from skilljobs.hashing import stable_hash
from skilljobs.stats.correlate import Z_95

Array = NDArray[np.float64]
Codes = NDArray[np.int64]

RESAMPLES = 2000
FEWEST_UNITS = 10
"""Units with a property, and as many without it, that a difference can be told from."""
POWER = 2.8
"""Standard errors of the difference that is noticed in 80 % of cases, at a level of 5 %."""


@dataclass(frozen=True)
class Contrast:
    """Rows with and without a property, each of a unit and of a stratum; arrays over rows.

    The difference of an outcome is that of its means within each stratum, weighted by n1 n0 / (n1 + n0) (Cochran;
    Mantel & Haenszel 1959). It is linear in the outcome.
    """

    units: Codes
    strata: Codes
    has: NDArray[np.bool_]

    def difference(self, outcomes: Array) -> Array:
        """The difference of each column of `outcomes`, rows x C; NaN if no stratum has rows of both kinds."""
        if len(outcomes) == 0:
            return np.full(outcomes.shape[1], np.nan)
        sums = self._sums(outcomes)
        found: Array = self._weighted(*(part.sum(0)[None] for part in sums))[0]
        return found

    def resampled(self, outcomes: Array, seed: int) -> Array:
        """The differences over `RESAMPLES` draws of units with replacement, draws x C."""
        sums = self._sums(outcomes)
        count = len(sums[0])
        rng = np.random.default_rng(stable_hash("contrast", seed))
        weights = np.stack([np.bincount(rng.integers(count, size=count), minlength=count) for _ in range(RESAMPLES)])
        drawn = [(weights @ part.reshape(count, -1)).reshape(RESAMPLES, *part.shape[1:]) for part in sums]
        return self._weighted(*drawn)

    def interval(self, outcomes: Array, seed: int) -> tuple[Array, Array, Array]:
        """The 95 % percentile interval of each difference, and its standard error."""
        drawn = self.resampled(outcomes, seed)
        if len(np.unique(self.units)) < 2 or np.isnan(drawn).mean() > 0.5:
            missing = np.full(outcomes.shape[1], np.nan)
            return missing, missing, missing
        low, high = np.nanquantile(drawn, [0.025, 0.975], axis=0)
        return low, high, np.nanstd(drawn, axis=0)

    @property
    def compared_units(self) -> tuple[int, int]:
        """How many units have rows with the property, and how many rows without it, in strata that have both."""
        if len(self.units) == 0:
            return 0, 0
        with_it, without, _, _ = self._sums(np.zeros((len(self.units), 1)))
        both = (with_it.sum(0) > 0) & (without.sum(0) > 0)
        return int((with_it[:, both].sum(1) > 0).sum()), int((without[:, both].sum(1) > 0).sum())

    def pooled_error(self, outcomes: Array, ends: tuple[float, float] | None = None) -> Array:
        """The standard error of each difference with rows independent and one spread in all of a stratum.

        `ends` are the smallest and largest value that an outcome can have, if there are such: one of either is added to
        each stratum, since values that are all the same in a few rows need not be so in others.
        """
        _, codes = np.unique(self.strata, return_inverse=True)
        size = int(codes.max(initial=-1)) + 1
        with_it, without = (np.bincount(codes[rows], minlength=size).astype(float) for rows in (self.has, ~self.has))
        count = with_it + without
        total = np.stack([np.bincount(codes, column, size) for column in outcomes.T], 1)
        square = np.stack([np.bincount(codes, column**2, size) for column in outcomes.T], 1)
        with np.errstate(divide="ignore", invalid="ignore"):
            added = 0 if ends is None else 2
            mean = (total + sum(ends or ())) / (count + added)[:, None]
            spread = (square + sum(end**2 for end in ends or ())) / (count + added)[:, None] - mean**2
            weight = np.where((with_it > 0) & (without > 0), with_it * without / count, 0.0)
            variance = (weight[:, None] * np.maximum(spread, 0)).sum(
                0
            )  # w^2 s^2 (1 / n1 + 1 / n0), where w = n1 n0 / n
            return np.asarray(np.sqrt(variance) / weight.sum())

    @cached_property
    def _places(self) -> tuple[Codes, int, int]:
        """Of each row, its place among units x strata; and how many of either there are."""
        _, units = np.unique(self.units, return_inverse=True)
        _, strata = np.unique(self.strata, return_inverse=True)
        of_units, of_strata = int(units.max(initial=-1)) + 1, int(strata.max(initial=-1)) + 1
        return units * of_strata + strata, of_units, of_strata

    def _sums(self, outcomes: Array) -> tuple[Array, Array, Array, Array]:
        """By unit and stratum: rows with and without, and the sums of their outcomes (units x strata x C)."""
        places, units, strata = self._places
        size = units * strata
        counts, totals = [], []
        for rows in (self.has, ~self.has):
            counts.append(np.bincount(places[rows], minlength=size).astype(np.float64).reshape(units, strata))
            columns = [np.bincount(places[rows], column[rows], size) for column in outcomes.T]
            totals.append(np.stack(columns, 1).astype(np.float64).reshape(units, strata, -1))
        return counts[0], counts[1], totals[0], totals[1]

    @staticmethod
    def _weighted(with_it: Array, without: Array, of_with: Array, of_without: Array) -> Array:
        """The difference from sums, each with draws x strata (x C)."""
        with np.errstate(divide="ignore", invalid="ignore"):
            weight = np.where((with_it > 0) & (without > 0), with_it * without / (with_it + without), 0.0)
            gap = of_with / with_it[..., None] - of_without / without[..., None]
            gap = np.where(weight[..., None] > 0, gap, 0.0)
            return np.asarray((weight[..., None] * gap).sum(1) / weight.sum(1)[:, None])


@dataclass(frozen=True)
class Estimate:
    """A difference with its 95 % interval over units, and what difference would be noticed in 80 % of cases."""

    value: float
    low: float
    high: float
    detectable: float


def estimate(contrast: Contrast, outcomes: Array, seed: int, ends: tuple[float, float] | None = None) -> Estimate:
    """The difference of one outcome, rows x 1, whose interval is no narrower than `pooled_error` with `ends` says."""
    missing = float("nan")
    if min(contrast.compared_units) < FEWEST_UNITS:
        return Estimate(missing, missing, missing, missing)
    value = float(contrast.difference(outcomes)[0])
    low, high, error = (float(found[0]) for found in contrast.interval(outcomes, seed))
    pooled = float(contrast.pooled_error(outcomes, ends)[0])
    low, high = min(low, value - Z_95 * pooled), max(high, value + Z_95 * pooled)
    if ends is not None:
        largest = ends[1] - ends[0]
        low, high = max(low, -largest), min(high, largest)
    return Estimate(value, low, high, POWER * max(error, pooled))
