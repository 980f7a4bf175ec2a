"""Random sets of neurons to compare a chosen set with, and how far the chosen set's effect is from theirs.

A control has a neuron for each one of the set: of the same layer, of the same decile of spread there or the nearest
one, and among these of a similar output norm. No control has a neuron of the set.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skilljobs.hashing import stable_hash

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

DECILES = 10
NEAREST = 40
"""Neurons that one is drawn from: those that match best. With 20, sets from rankings of noise had a p of 0.05 or less
in 8 % of cases where effects have long tails (layers of 400 neurons, 3 in a set); with 40 it is 5 to 6 %."""
_TRIES = 50
"""Draws in a row that may repeat earlier ones, before there are taken to be no others."""


@dataclass(frozen=True)
class Traits:
    """What neurons are matched by, an array entry for each neuron of the model: its layer, the decile of its spread
    within the layer (0 to 9), and its output norm."""

    layer: Indices
    decile: Indices
    norm: Array

    @classmethod
    def of(cls, layer: Indices, spread: Array, norm: Array) -> "Traits":
        """Traits from the standard deviation of each activation (NaN counts as 0) and its output norm."""
        decile = np.zeros(len(layer), np.int64)
        spread = np.nan_to_num(spread)
        for number in np.unique(layer):
            inside = np.flatnonzero(layer == number)
            rank = np.empty(len(inside), np.int64)
            rank[np.argsort(spread[inside], kind="stable")] = np.arange(len(inside))
            decile[inside] = rank * DECILES // len(inside)
        return cls(np.asarray(layer, np.int64), decile, norm)

    def candidates(self, neuron: int, excluded: NDArray[np.bool_]) -> Indices:
        """The neurons that may stand for one, the best match first; `excluded` marks those that may not."""
        others = np.flatnonzero((self.layer == self.layer[neuron]) & ~excluded)
        steps = np.abs(self.decile[others] - self.decile[neuron])
        logs = np.log(np.maximum(self.norm[others], 1e-30)) - np.log(max(self.norm[neuron], 1e-30))
        return others[np.lexsort((others, np.abs(logs), steps))]


def most_matched(chosen: Sequence[int], traits: Traits) -> int | None:
    """The first layer of which a set has more neurons than it leaves for a control; None if there is none."""
    layers, counts = np.unique(traits.layer[list(chosen)], return_counts=True)
    for layer, count in zip(layers.tolist(), counts.tolist(), strict=True):
        if 2 * count > int((traits.layer == layer).sum()):
            return int(layer)
    return None


def matched_controls(chosen: Sequence[int], traits: Traits, draws: int, seed: int) -> list[Indices]:
    """Draw up to `draws` controls of a set, no two of them the same; fewer if there are no others.

    `chosen` are places in the arrays of `traits`; each control has one place for each of them, in their order.
    """
    rng = np.random.default_rng(stable_hash("controls", seed, *sorted(chosen)))
    excluded = np.zeros(len(traits.layer), bool)
    excluded[list(chosen)] = True
    candidates = [traits.candidates(neuron, excluded) for neuron in chosen]
    if len(chosen) == 1:
        return [neuron[None] for neuron in rng.permutation(candidates[0][: max(NEAREST, draws)])[:draws]]
    found: dict[frozenset[int], Indices] = {}
    repeated = 0
    while len(found) < draws and repeated < _TRIES * (1 + draws):
        drawn = _draw(candidates, rng)
        key = frozenset(drawn.tolist())
        repeated = repeated + 1 if key in found else 0
        found.setdefault(key, drawn)
    return list(found.values())


def _draw(candidates: Sequence[Indices], rng: np.random.Generator) -> Indices:
    taken: set[int] = set()
    drawn = np.zeros(len(candidates), np.int64)
    for place in rng.permutation(len(candidates)):
        free = [neuron for neuron in candidates[place][: NEAREST + len(taken)].tolist() if neuron not in taken]
        drawn[place] = free[int(rng.integers(min(NEAREST, len(free))))]
        taken.add(int(drawn[place]))
    return drawn


def shared_part(controls: Sequence[Indices]) -> float:
    """The part of its neurons that a control shares with another one, on average over pairs of them."""
    if len(controls) < 2:
        return 0.0
    size, count = len(controls[0]), len(controls)
    _, times = np.unique(np.concatenate(list(controls)), return_counts=True)
    return float((times * (times - 1)).sum() / (count * (count - 1) * size))


def p_among(effect: Array, controls: Array, shared: float = 0.0) -> Array:
    """The share of controls at least as far from the controls' mean as the set, plus one.

    Args:
        effect: of the set, for each of G groups.
        controls: R x G; NaN where a group has no effect, which gives NaN.
        shared: see `shared_part`.

    A control's distance is from the mean of the others, so that it is no part of it. Controls that share neurons are
    closer to each other than to a set that shares none with them: with effects that add up, and an equal variance of
    each neuron, by the square root of (1 + shared) / (1 - shared). The set's distance is divided by that ratio itself,
    as effects have long tails, and a neuron of large effect in the set is in no control. With the root, noise had a p
    of 0.05 or less in 5 to 7.5 % of simulated cases, with the ratio in 5 to 6.5 %, without it in 7 to 10 %.
    """
    count = len(controls)
    if count < 2:
        return np.full_like(effect, np.nan)
    mean = controls.mean(0)
    closer = (1 + shared) / max(1 - shared, 1e-12)
    of_set = np.abs(effect - mean) / (np.sqrt(1 + 1 / count) * closer)
    others = (count * mean - controls) / (count - 1)
    of_controls = np.abs(controls - others) / np.sqrt(1 + 1 / (count - 1))
    # equal effects must count as equal, whatever the last bit of a sum
    tolerance = 1e-12 * (np.abs(effect) + np.abs(controls).max(0))
    p = (1 + (of_controls >= of_set - tolerance).sum(0)) / (count + 1)
    return np.asarray(np.where(np.isnan(of_set) | np.isnan(controls).any(0), np.nan, p))


def p_of_distance(effect: float, controls: Array, shared: float = 0.0) -> float:
    """The two-sided p of a set's distance from the mean of R controls, by Student's t, as if their effects were normal.

    It can be as small as many tests at once need, which the share of R controls cannot; effects have longer tails than
    that, so that it is right only beside `p_among`. NaN with fewer than two controls; see there for `shared`.
    """
    from scipy.special import stdtr

    count = len(controls)
    if count < 2 or np.isnan(controls).any() or np.isnan(effect):
        return float("nan")
    distance = abs(effect - float(controls.mean()))
    scale = float(controls.std(ddof=1)) * np.sqrt(1 + 1 / count) * (1 + shared) / max(1 - shared, 1e-12)
    if scale == 0:
        return 1.0 if distance == 0 else 0.0
    return float(2 * stdtr(count - 1, -distance / scale))
