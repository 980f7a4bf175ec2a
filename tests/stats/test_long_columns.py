"""More values than are held at a time give what NumPy gives of an array, to the bit."""

import numpy as np
import pytest

from skilljobs.stats import long_columns
from skilljobs.stats.long_columns import PART_ROWS, order_statistics, present, total
from skilljobs.stats.metric_traps import yes_no_counts
from skilljobs.stats.null import most_skewed, skewness
from skilljobs.stats.predictivity import is_yes_no

SIZES = (0, 1, 7, PART_ROWS - 1, PART_ROWS, PART_ROWS + 1, 2 * PART_ROWS + 12345, 1_000_003)


@pytest.mark.parametrize("size", SIZES)
def test_sums_are_those_of_numpy(size: int) -> None:
    values = np.random.default_rng(size).lognormal(0, 3, size)
    assert total(values) == np.sum(values)
    if size:
        assert total(values, lambda part: (part - values[0]) ** 3) == np.sum((values - values[0]) ** 3)
        deviations = (values - values.mean()) / (values.std() or 1)
        assert skewness(values) == np.mean(deviations**3)


@pytest.mark.parametrize("part", [128, 1000])
@pytest.mark.parametrize("kind", ["different", "few", "yes/no", "in order", "one"])
def test_order_statistics_are_those_of_a_sorted_array(kind: str, part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    values = {
        "different": rng.normal(size=5000),
        "few": rng.integers(0, 7, 5000).astype(float),
        "yes/no": (rng.random(5000) < 0.03).astype(float),
        "in order": np.arange(5000.0),
        "one": np.ones(5000),
    }[kind]
    monkeypatch.setattr(long_columns, "PART_ROWS", part)
    ranks = np.unique(rng.integers(0, 5000, 300))
    assert order_statistics(values, ranks).tolist() == np.sort(values)[ranks].tolist()
    assert order_statistics(values, np.arange(5000)).tolist() == np.sort(values).tolist()


def test_missing_values_and_parts_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    rare = np.where(rng.random(3000) < 0.2, np.nan, (rng.random(3000) < 0.02).astype(float))
    late = np.r_[np.zeros(2999), 2.0]

    def found() -> list[object]:
        drawn = most_skewed({"common": (rare > 0).astype(float) * 0, "rare": rare})
        assert drawn is not None
        counts = yes_no_counts(rare)
        return [present(rare)[:].tolist(), skewness(rare), drawn.tolist(), counts, is_yes_no(rare), is_yes_no(late)]

    expected = found()
    assert expected[3:] == [[(int(np.nansum(rare)), int((~np.isnan(rare)).sum()))], True, False]
    monkeypatch.setattr(long_columns, "PART_ROWS", 128)
    assert found() == expected
