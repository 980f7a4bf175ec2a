"""Sums of the estimated effects of neurons over examples, and what follows from them for each neuron.

The sums of different examples add. The null is that of random signs, one for each unit (`skilljobs.stats.null`): if a
neuron's effect is as often positive as negative, a unit's effect with another sign is as likely.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from skilljobs.stats.correlate import Z_95, false_discovery_rate

Array = NDArray[np.float64]
Outcome = Literal["margin", "target_logprob"]
"""What effects are on, in nats."""

_ROUNDING = 1e-12
"""The variance, relative to the mean square, below which it is nothing but rounding."""


@dataclass(frozen=True)
class EffectSums:
    """Sums over the examples of G groups, of which the first is all of them; float64.

    `count`: G. `total`, `square`, `absolute`: G x neurons, the sums of the effects, their squares and sizes.
    `signed`: K x neurons, the sums over all examples with random signs.
    """

    count: NDArray[np.int64]
    total: Array
    square: Array
    absolute: Array
    signed: Array

    @classmethod
    def of(cls, effects: Array, members: NDArray[np.bool_], signs: Array) -> "EffectSums":
        """The sums of `effects`, examples x neurons, all of them finite.

        `members` (examples x G) says which groups an example is in, and all are in the first; `signs` is examples x K.
        """
        if not members[:, 0].all():
            raise ValueError("the first group is that of all examples")
        if not np.isfinite(effects).all():
            raise ValueError("an effect is not finite")
        weights = members.T.astype(np.float64)
        return cls(
            members.sum(0, dtype=np.int64),
            weights @ effects,
            weights @ effects**2,
            weights @ np.abs(effects),
            signs.T @ effects,
        )

    @classmethod
    def empty(cls, neurons: int, groups: int, draws: int) -> "EffectSums":
        """The sums over no examples."""
        zeros = np.zeros((groups, neurons))
        return cls(np.zeros(groups, np.int64), zeros, zeros, zeros, np.zeros((draws, neurons)))

    def __add__(self, other: "EffectSums") -> "EffectSums":
        return EffectSums(
            self.count + other.count,
            self.total + other.total,
            self.square + other.square,
            self.absolute + other.absolute,
            self.signed + other.signed,
        )

    @property
    def effect(self) -> Array:
        """The mean effect, G x neurons; NaN in a group without examples."""
        return self._per_example(self.total)

    @property
    def effect_abs(self) -> Array:
        """The mean size of the effects, whose signs may cancel in `effect`; as there."""
        return self._per_example(self.absolute)

    @property
    def consistency(self) -> Array:
        """|sum of effects| / root of the sum of their squares, over all examples; NaN for a neuron without effect."""
        found: Array = self._standardized(self.total[:1])[0]
        return found

    @property
    def null_maxima(self) -> Array:
        """The largest `consistency` of any of these neurons with each of the K draws of signs; 0 without effects."""
        return np.asarray(np.nan_to_num(self._standardized(self.signed)).max(1, initial=0.0), np.float64)

    def interval(self) -> tuple[Array, Array]:
        """The 95 % interval of the mean effect, mean +- 1.96 sd / root n, as if examples were independent."""
        mean, error = self.effect, self._standard_error()
        return mean - Z_95 * error, mean + Z_95 * error

    def p_value(self) -> Array:
        """The two-sided p of a mean of 0 by Student's t, as if examples were independent.

        NaN where the effect does not vary, and with fewer than two examples.
        """
        from scipy.special import stdtr

        error = self._standard_error()
        with np.errstate(divide="ignore", invalid="ignore"):
            t = np.where(error > 0, np.abs(self.effect) / error, np.nan)
        freedom = np.maximum(self.count - 1, 1)[:, None].astype(np.float64)
        return np.asarray(2 * stdtr(freedom, -t), np.float64)

    def _per_example(self, sums: Array) -> Array:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(sums / self.count[:, None], np.float64)

    def _standard_error(self) -> Array:
        count = self.count[:, None].astype(np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            spread = self.square - self.total**2 / count
            spread = np.where(spread <= _ROUNDING * self.square, 0.0, spread)
            return np.where(count > 1, np.sqrt(spread / (count - 1) / count), np.nan)

    def _standardized(self, sums: Array) -> Array:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(self.square[:1] > 0, np.abs(sums) / np.sqrt(self.square[:1]), np.nan)


def q_values(p: Array) -> Array:
    """The Benjamini-Hochberg q of the neurons of the whole model within each group; `p` is G x neurons."""
    return np.stack([false_discovery_rate(of_group) for of_group in p])
