"""p by permuting units: its level where examples share units, and agreement with scipy where they do not."""

import numpy as np
import pytest
from scipy.stats import binom, permutation_test

from skilljobs.stats.unit_permutations import centred, correlations, permutation_p

REPEATS = 300


@pytest.mark.parametrize("varies", [False, True])
def test_without_association_p_is_small_as_often_as_it_says(varies: bool) -> None:
    rng = np.random.default_rng(1)
    small = 0
    for repeat in range(REPEATS):
        sizes = rng.integers(1, 5, 60)
        units = np.repeat(np.arange(60), sizes)
        activations = rng.normal(size=60)[units] + 0.5 * rng.normal(size=len(units))
        values = (rng.random(60) < 0.3)[units].astype(float)
        if varies:
            values = values + 0.5 * rng.normal(size=len(units))
        columns = [centred(column[:, None], np.zeros(len(units), np.int64)) for column in (activations, values)]
        small += (
            permutation_p(columns[0], columns[1], units, np.zeros(len(columns[0]), np.int64), 99, repeat)[0, 0] <= 0.05
        )
    assert small <= binom.ppf(0.999, REPEATS, 0.05)
    assert small >= binom.ppf(0.001, REPEATS, 0.05)


def test_permuting_examples_would_find_what_is_not_there() -> None:
    """The same data with each example a unit of its own: the test above can fail."""
    rng = np.random.default_rng(1)
    small = 0
    for repeat in range(100):
        units = np.repeat(np.arange(20), 10)
        activations, values = (rng.normal(size=20)[units][:, None] for _ in range(2))
        columns = [centred(column, np.zeros(200, np.int64)) for column in (activations, values)]
        small += (
            permutation_p(columns[0], columns[1], np.arange(200), np.zeros(len(columns[0]), np.int64), 99, repeat)[0, 0]
            <= 0.05
        )
    assert small > 30


def test_it_agrees_with_scipy_where_each_example_is_a_unit() -> None:
    rng = np.random.default_rng(0)
    a, y = rng.normal(size=40), rng.normal(size=40)
    y += 0.25 * a
    columns = [centred(column[:, None], np.zeros(40, np.int64)) for column in (a, y)]
    mine = permutation_p(columns[0], columns[1], np.arange(40), np.zeros(len(columns[0]), np.int64), 9999, 0)[0, 0]
    theirs = permutation_test(
        (a,), lambda x: abs(np.corrcoef(x, y)[0, 1]), permutation_type="pairings", alternative="greater", rng=0
    )
    assert mine == pytest.approx(theirs.pvalue, abs=0.02)


def test_a_constant_has_no_r_and_no_p() -> None:
    columns = np.stack([np.linspace(-1, 1, 20), np.zeros(20)], 1)
    assert np.isnan(correlations(columns, columns)).tolist() == [[False, True], [True, True]]
    p = permutation_p(columns, columns, np.arange(20), np.zeros(20, np.int64), 99, 0)
    assert np.isnan(p).tolist() == [[False, True], [True, True]]
    assert p[0, 0] == 1 / 100


@pytest.mark.parametrize("sizes", [1, 3])
def test_groups_of_unequal_spread_do_not_make_p_small(sizes: int) -> None:
    """The property varies in a group where the neuron varies three times as much."""
    rng = np.random.default_rng(2)
    small = 0
    for repeat in range(REPEATS):
        units = np.repeat(np.arange(120), sizes)
        groups = (np.arange(120) % 4 == 0).astype(np.int64)[units]
        activations = np.where(groups == 1, 3.0, 1.0) * rng.normal(size=len(units))
        values = np.where(groups == 1, rng.random(120)[units] < 0.5, rng.random(120)[units] < 0.02).astype(float)
        columns = [centred(column[:, None], groups) for column in (activations, values)]
        small += permutation_p(columns[0], columns[1], units, groups, 99, repeat)[0, 0] <= 0.05
    assert small <= binom.ppf(0.999, REPEATS, 0.05)


def test_units_in_several_groups_stay_in_them() -> None:
    rng = np.random.default_rng(3)
    small = 0
    for repeat in range(REPEATS):
        units, groups = np.repeat(np.arange(60), 2), np.tile([0, 1], 60)
        activations = np.where(groups == 1, 3.0, 1.0) * rng.normal(size=120)
        values = np.where(groups == 1, rng.random(120) < 0.5, rng.random(120) < 0.03).astype(float)
        columns = [centred(column[:, None], groups) for column in (activations, values)]
        small += permutation_p(columns[0], columns[1], units, groups, 99, repeat)[0, 0] <= 0.05
    assert small <= binom.ppf(0.999, REPEATS, 0.05)
