import numpy as np
import pytest

from skilljobs.stats.null import family_wise_threshold, null_signs


def test_signs_are_balanced_fixed_and_shared_by_a_unit() -> None:
    units = [f"unit-{number}" for number in range(2000)]
    signs = null_signs(units, 600)
    assert set(np.unique(signs)) == {-1.0, 1.0}
    assert np.abs(signs.mean(0)).max() < 5 / np.sqrt(len(units))
    assert (null_signs([units[7], units[7]], 600) == signs[7]).all()
    assert (null_signs(units[:3], 5) == signs[:3, :5]).all()
    between = np.corrcoef(signs[:, :20].T) - np.eye(20)
    assert np.abs(between).max() < 5 / np.sqrt(len(units))


@pytest.mark.parametrize("count", [16, 19, 99])
def test_a_further_draw_exceeds_the_threshold_as_often_as_said(count: int) -> None:
    rng = np.random.default_rng(count)
    draws = rng.gumbel(size=(20_000, count + 1))
    exceeded = np.mean([draw[-1] > family_wise_threshold(draw[:-1]) for draw in draws.tolist()])
    assert exceeded == pytest.approx(max(0.05, 1 / (count + 1)), abs=4 * np.sqrt(0.05 * 0.95 / 20_000))


def test_no_null_no_threshold() -> None:
    assert family_wise_threshold([]) is None
