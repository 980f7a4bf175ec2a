"""Sums of effects give what scipy and plain loops give, however examples are divided among shards."""

import numpy as np
import pytest
from scipy import stats

from skilljobs.stats.effect_sums import EffectSums, q_values
from skilljobs.stats.null import family_wise_threshold, null_signs


def make(seed: int = 0, examples: int = 60, neurons: int = 7) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    effects = rng.normal(0.3, 1.0, (examples, neurons)) * rng.lognormal(size=neurons)
    members = np.stack([np.ones(examples, bool), rng.random(examples) < 0.4], 1)
    return effects, members, null_signs([f"u{number // 2}" for number in range(examples)], 19)


def test_sums_of_shards_give_what_all_examples_give() -> None:
    effects, members, signs = make()
    parts = [EffectSums.of(effects[p], members[p], signs[p]) for p in (slice(0, 13), slice(13, 14), slice(14, None))]
    sums = parts[0] + parts[1] + parts[2]
    assert sums.count.tolist() == [60, members[:, 1].sum()]
    for group in range(2):
        mine = effects[members[:, group]]
        np.testing.assert_allclose(sums.effect[group], mine.mean(0), rtol=1e-12)
        np.testing.assert_allclose(sums.effect_abs[group], np.abs(mine).mean(0), rtol=1e-12)
        np.testing.assert_allclose(sums.p_value()[group], stats.ttest_1samp(mine, 0).pvalue, rtol=1e-9)
        low, high = sums.interval()
        half = 1.959963984540054 * stats.sem(mine)
        np.testing.assert_allclose(low[group], mine.mean(0) - half, rtol=1e-9)
        np.testing.assert_allclose(high[group], mine.mean(0) + half, rtol=1e-9)
    expected = np.abs(effects.sum(0)) / np.sqrt((effects**2).sum(0))
    np.testing.assert_allclose(sums.consistency, expected, rtol=1e-12)
    drawn = [np.max(np.abs((effects * signs[:, [k]]).sum(0)) / np.sqrt((effects**2).sum(0))) for k in range(19)]
    np.testing.assert_allclose(sums.null_maxima, drawn, rtol=1e-12)


def test_opposite_effects_cancel_in_the_mean_and_not_in_its_size() -> None:
    effects = np.array([[2.0], [-2.0]])
    sums = EffectSums.of(effects, np.ones((2, 1), bool), np.ones((2, 1)))
    assert sums.effect.item() == 0
    assert sums.effect_abs.item() == 2


def test_a_constant_effect_and_one_example_have_no_p() -> None:
    members, signs = np.ones((5, 1), bool), np.ones((5, 2))
    constant = EffectSums.of(np.tile([0.0, 0.1], (5, 1)), members, signs)
    assert np.isnan(constant.p_value()).all()
    assert np.isnan(constant.consistency[0])
    assert constant.null_maxima[0] == pytest.approx(5**0.5)
    single = EffectSums.of(np.array([[3.0]]), members[:1], signs[:1])
    assert np.isnan(single.p_value()).all()
    assert np.isnan(single.interval()[0]).all()
    empty = EffectSums.of(np.ones((2, 1)), np.array([[True, False], [True, False]]), signs[:2])
    assert np.isnan(empty.effect[1]).all()
    assert np.isnan(empty.p_value()[1]).all()


def test_a_value_that_is_not_finite_is_refused() -> None:
    with pytest.raises(ValueError, match="not finite"):
        EffectSums.of(np.array([[np.nan]]), np.ones((1, 1), bool), np.ones((1, 1)))


def test_units_are_exchangeable_and_the_threshold_holds_its_level() -> None:
    """Pure noise that is the same in all examples of a unit passes in at most 17 of 200 repetitions."""
    passed = 0
    for repetition in range(200):
        rng = np.random.default_rng(repetition)
        units = [f"{repetition}/{number // 3}" for number in range(90)]
        effects = np.repeat(rng.normal(size=(30, 40)), 3, 0) + 0.1 * rng.normal(size=(90, 40))
        sums = EffectSums.of(effects, np.ones((90, 1), bool), null_signs(units, 39))
        threshold = family_wise_threshold(list(sums.null_maxima))
        assert threshold is not None
        passed += bool(sums.consistency.max() > threshold)
    assert passed <= 17


def test_q_is_within_a_group() -> None:
    p = np.array([[0.01, 0.02, np.nan], [0.5, 0.04, 0.9]])
    np.testing.assert_allclose(q_values(p), [[0.02, 0.02, np.nan], [0.75, 0.12, 0.9]])
