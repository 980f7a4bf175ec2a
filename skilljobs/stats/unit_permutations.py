"""How likely a correlation of a neuron with a property is by chance, where examples share units: units are permuted.

A property that is the same in all examples of a unit is permuted among units. One that varies within a unit is permuted
within it, and units of the same size change places with each other as a whole. Either stays within its group.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from skilljobs.hashing import stable_hash

Array = NDArray[np.float64]
Codes = NDArray[np.int64]

_AT_ONCE = 1 << 22
"""Numbers that are permuted at a time."""
_CONSTANT = 1e-12
"""Spread, relative to the mean square, below which values do not vary."""
FEWEST_DRAWS, MOST_DRAWS, DRAWS_PER_PROPERTY = 1999, 19999, 40


def draws_for(properties: int) -> int:
    """Permutations that leave a p small enough to be found among as many properties (Benjamini-Hochberg at 0.05)."""
    return min(MOST_DRAWS, max(FEWEST_DRAWS, DRAWS_PER_PROPERTY * properties))


def centred(values: Array, groups: Codes) -> Array:
    """`values`, examples x columns, less their mean within each group."""
    count = np.bincount(groups)
    means = np.stack([np.bincount(groups, column) / np.maximum(count, 1) for column in values.T], 1)
    return np.asarray(values - means[groups])


def correlations(activations: Array, values: Array) -> Array:
    """r of each neuron with each property, N x M, of centred columns; NaN where one does not vary."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray((activations.T @ values) / np.sqrt(_squares(activations)[:, None] * _squares(values)))


def permutation_p(activations: Array, values: Array, units: Codes, groups: Codes, draws: int, seed: int) -> Array:
    """The two-sided p of each r, N x M; NaN where r is.

    Args:
        activations: examples x N, centred.
        values: examples x M, centred, without missing ones.
        units: the number of each example's unit.
        groups: of each example, the group that it was centred in. Nothing is permuted from one group to another:
            groups may differ in spread.
    """
    observed = np.abs(correlations(activations, values))
    beyond = np.zeros(observed.shape)
    _, units = np.unique(units, return_inverse=True)
    _, groups = np.unique(groups, return_inverse=True)
    order = np.lexsort((groups, units))
    activations, values, units, groups = activations[order], values[order], units[order], groups[order]
    stays = bool((np.diff(groups)[np.diff(units) == 0] == 0).all())
    same = _is_same_within(values, units) & stays
    rng = np.random.default_rng(stable_hash("permutations", seed))
    for columns, permuted in ((same, _among_units), (~same, _within_units)):
        if columns.any():
            tolerance = 1e-9 * observed[:, columns]
            for found in permuted(activations, values[:, columns], units, groups, draws, rng):
                beyond[:, columns] += (np.abs(found) >= observed[:, columns] - tolerance).sum(0)
    return np.asarray(np.where(np.isnan(observed), np.nan, (1 + beyond) / (draws + 1)))


def _squares(values: Array) -> Array:
    """The sum of squares of each column; NaN where it is but rounding of a constant."""
    squares = (values**2).sum(0)
    largest = np.abs(values).max(0, initial=0.0) ** 2 * len(values)
    return np.asarray(np.where(squares > _CONSTANT * largest, squares, np.nan))


def _is_same_within(values: Array, units: Codes) -> NDArray[np.bool_]:
    """Which columns have one value in each unit; rows are sorted by unit."""
    continues = units[1:] == units[:-1]
    return np.asarray((values[1:][continues] == values[:-1][continues]).all(0))


def _among_units(
    activations: Array, values: Array, units: Codes, groups: Codes, draws: int, rng: np.random.Generator
) -> Iterator[Array]:
    """r with the values of units permuted within each group, draws x N x M in parts. Units differ in size, so that the
    spread of a property is another one with each permutation."""
    count, neurons, width = int(units.max()) + 1, activations.shape[1], values.shape[1]
    sums = np.stack([np.bincount(units, column, count) for column in activations.T], 1)
    moved = np.concatenate([sums, np.bincount(units, minlength=count)[:, None].astype(np.float64)], 1)
    of_unit, group_of = np.zeros((count, width)), np.zeros(count, np.int64)
    of_unit[units], group_of[units] = values, groups
    members = [np.flatnonzero(group_of == group) for group in range(int(groups.max()) + 1)]
    both = np.concatenate([of_unit, of_unit**2], 1)
    size = _squares(activations)[:, None]
    for part in _parts(draws, moved.size):
        products, spread = np.zeros((part, neurons, width)), np.zeros((part, 1, width))
        for inside in members:
            order = rng.permuted(np.tile(inside, (part, 1)), axis=1)
            found = moved[order].transpose(0, 2, 1).reshape(-1, len(inside)) @ both[inside]
            found = found.reshape(part, neurons + 1, -1)
            products += found[:, :-1, :width]
            spread += found[:, -1:, width:] - found[:, -1:, :width] ** 2 / moved[inside, -1].sum()
        with np.errstate(divide="ignore", invalid="ignore"):
            yield np.nan_to_num(products / np.sqrt(size * np.maximum(spread, 0)), posinf=0.0, neginf=0.0)


def _within_units(
    activations: Array, values: Array, units: Codes, groups: Codes, draws: int, rng: np.random.Generator
) -> Iterator[Array]:
    """r with examples permuted within their units and groups, and units that have as many examples of each group among
    each other; as `_among_units`. Rows are sorted by unit, and by group within it."""
    alike: dict[bytes, list[Codes]] = {}
    for rows in np.split(np.arange(len(units)), np.flatnonzero(np.diff(units)) + 1):
        alike.setdefault(groups[rows].tobytes(), []).append(rows)
    blocks = [(np.stack(same), groups[same[0]]) for same in alike.values()]
    scale = np.sqrt(_squares(activations)[:, None] * _squares(values))
    for part in _parts(draws, activations.size):
        order = np.zeros((part, len(units)), np.int64)
        for block, inside in blocks:
            moved = block[rng.permuted(np.tile(np.arange(len(block)), (part, 1)), axis=1)]
            for group in np.unique(inside):
                moved[:, :, inside == group] = rng.permuted(moved[:, :, inside == group], axis=2)
            order[:, block.ravel()] = moved.reshape(part, -1)
        found = activations[order].transpose(0, 2, 1).reshape(-1, len(units)) @ values
        with np.errstate(divide="ignore", invalid="ignore"):
            yield np.nan_to_num(found.reshape(part, *scale.shape) / scale)


def _parts(draws: int, size: int) -> Iterator[int]:
    at_once = max(1, _AT_ONCE // max(1, size))
    for start in range(0, draws, at_once):
        yield min(at_once, draws - start)
