"""Differences within strata, against a reading by hand; Simpson's paradox; intervals over units."""

import numpy as np
import pytest

from skilljobs.stats.stratified import Contrast


def test_the_difference_is_the_weighted_one_within_strata() -> None:
    rng = np.random.default_rng(0)
    strata, has, y = rng.integers(3, size=200), rng.random(200) < 0.4, rng.normal(size=200)
    total = weights = 0.0
    for stratum in range(3):
        one, other = y[(strata == stratum) & has], y[(strata == stratum) & ~has]
        weight = len(one) * len(other) / (len(one) + len(other))
        total, weights = total + weight * (one.mean() - other.mean()), weights + weight
    contrast = Contrast(np.arange(200), strata, has)
    assert contrast.difference(y[:, None])[0] == pytest.approx(total / weights, rel=1e-12)
    both = contrast.difference(np.stack([y, 2 * y, y + strata], 1))
    assert both == pytest.approx([both[0], 2 * both[0], both[0]])


def test_a_difference_between_strata_is_none_within_them() -> None:
    strata = np.repeat([0, 1], 100)
    has = np.concatenate([np.arange(100) < 90, np.arange(100) < 10])
    outcome = strata.astype(float)[:, None]
    contrast = Contrast(np.arange(200), strata, has)
    assert contrast.difference(outcome)[0] == 0
    assert Contrast(np.arange(200), np.zeros(200, np.int64), has).difference(outcome)[0] == pytest.approx(-0.8)


def test_without_both_kinds_in_any_stratum_there_is_no_difference() -> None:
    contrast = Contrast(np.arange(40), np.repeat([0, 1], 20), np.repeat([True, False], 20))
    assert np.isnan(contrast.difference(np.ones((40, 1)))).all()
    assert np.isnan(contrast.interval(np.ones((40, 1)), 0)).all()


def test_the_interval_is_over_units() -> None:
    rng = np.random.default_rng(0)
    units = np.repeat(np.arange(40), 10)
    has = units % 2 == 0
    y = rng.normal(size=40)[units][:, None]
    low, high, error = Contrast(units, np.zeros(400, np.int64), has).interval(y, 0)
    narrow = Contrast(np.arange(400), np.zeros(400, np.int64), has).interval(y, 0)
    assert high - low > 2 * (narrow[1] - narrow[0])
    of_units = y[::10, 0]
    expected = np.sqrt(of_units[::2].var() / 20 + of_units[1::2].var() / 20)
    assert error[0] == pytest.approx(expected, rel=0.1)
