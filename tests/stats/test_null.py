from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binom

from skilljobs.stats.null import (
    family_wise_threshold,
    most_skewed,
    null_draws,
    null_metrics,
    null_signs,
    skewness,
)

Array = NDArray[np.float64]
DRAWS = 19
REPETITIONS = 300


def test_signs_are_balanced_reproducible_and_shared_within_a_unit() -> None:
    units = [f"unit-{number}" for number in range(2000)]
    signs = null_signs(units, 600)
    assert set(np.unique(signs)) == {-1.0, 1.0}
    assert np.abs(signs.mean(0)).max() < 5 / np.sqrt(len(units))
    assert (null_signs([units[7], units[7]], 600) == signs[7]).all()
    assert (null_signs(units[:3], 5) == signs[:3, :5]).all()
    between = np.corrcoef(signs[:, :20].T) - np.eye(20)
    assert np.abs(between).max() < 5 / np.sqrt(len(units))


def test_draws_have_the_distribution_of_the_values_and_are_shared_within_a_unit() -> None:
    values = np.array([0.0] * 96 + [1.0] * 3 + [7.0])
    units = [f"unit-{number}" for number in range(20_000)]
    draws = null_draws(units, 4, values)
    for value, share in ((0.0, 0.96), (1.0, 0.03), (7.0, 0.01)):
        assert np.abs((draws == value).mean(0) - share).max() < 5 * np.sqrt(share * (1 - share) / len(units))
    assert (null_draws([units[7], units[7]], 4, values) == draws[7]).all()
    assert np.abs(np.corrcoef(draws.T) - np.eye(4)).max() < 5 / np.sqrt(len(units))


def test_the_most_skewed_metric_is_found() -> None:
    rng = np.random.default_rng(0)
    rare = (rng.random(50_000) < 0.02).astype(float)
    rare[::7] = np.nan
    common = (rng.random(50_000) < 0.2).astype(float)
    values = most_skewed({"common": common, "rare": rare, "constant": np.ones(5), "absent": np.full(5, np.nan)})
    assert values is not None
    assert len(values) == 4096
    assert values.mean() == pytest.approx(np.nanmean(rare), abs=1 / 4096)
    assert most_skewed({"common": common}) is None
    assert most_skewed({}) is None
    assert skewness(-rare) == pytest.approx(-6.9, abs=0.3)


def test_zero_null_metrics_need_no_draws() -> None:
    assert null_metrics(0, skewed=True) == []
    assert null_signs(["a", "b"], 0).shape == null_draws(["a", "b"], 0, np.ones(3)).shape == (2, 0)
    assert [metric.name for metric in null_metrics(2, skewed=True)] == [
        "null:0", "null:1", "null:skewed:0", "null:skewed:1"
    ]  # fmt: skip


@pytest.mark.parametrize("count", [16, 19, 99])
def test_a_further_draw_exceeds_the_threshold_with_the_documented_probability(count: int) -> None:
    rng = np.random.default_rng(count)
    draws = rng.gumbel(size=(20_000, count + 1))
    share = np.mean([draw[-1] > family_wise_threshold(draw[:-1]) for draw in draws.tolist()])
    assert share == pytest.approx(max(0.05, 1 / (count + 1)), abs=4 * np.sqrt(0.05 * 0.95 / 20_000))


def test_without_null_metrics_there_is_no_threshold() -> None:
    assert family_wise_threshold([]) is None


def count_exceeding(
    activations: Callable[[np.random.Generator, int], Array],
    metric: Callable[[np.random.Generator, int], Array],
    *,
    rows: int = 1000,
    unit: int = 1,
    drawn: bool = False,
) -> int:
    """Return in how many repetitions a metric without any association exceeds the threshold for some neuron.

    `activations` and `metric` draw the given number of rows: 50 neurons, to which 50 mixtures of them are added, and
    one value per row.
    """
    count = 0
    for repetition in range(REPETITIONS):
        rng = np.random.default_rng(repetition)
        sources = activations(rng, rows)
        neurons = np.concatenate([sources, sources @ rng.normal(size=(50, 50))], 1)
        values = metric(rng, rows)
        units = [f"{repetition}-{row // unit}" for row in range(rows)]
        nulls = null_draws(units, DRAWS, values) if drawn else null_signs(units, DRAWS)
        maxima = largest_abs_r(neurons, np.column_stack([nulls, values]))
        threshold = family_wise_threshold(maxima[:-1].tolist())
        assert threshold is not None
        count += bool(maxima[-1] > threshold)
    return count


def largest_abs_r(neurons: Array, metrics: Array) -> Array:
    neurons, metrics = ((x - x.mean(0)) / x.std(0) for x in (neurons, metrics))
    return np.abs(neurons.T @ metrics / len(neurons)).max(0)


def normal(rng: np.random.Generator, rows: int) -> Array:
    return rng.normal(size=(rows, 50))


def long_tailed(rng: np.random.Generator, rows: int) -> Array:
    return np.exp(rng.normal(size=(rows, 50)))


def in_units(rng: np.random.Generator, rows: int) -> Array:
    """Draw activations in units of 50 rows with an intra-unit correlation of 0.5."""
    return np.sqrt(0.5) * (np.repeat(rng.normal(size=(rows // 50, 50)), 50, axis=0) + rng.normal(size=(rows, 50)))


def spread(rng: np.random.Generator, rows: int) -> Array:
    return rng.normal(size=rows)


def rare(rng: np.random.Generator, rows: int) -> Array:
    return (rng.permutation(rows) < 0.02 * rows).astype(float)


def constant_within_units(rng: np.random.Generator, rows: int) -> Array:
    return np.repeat(rng.normal(size=rows // 50), 50)


def correlated_within_units(rng: np.random.Generator, rows: int) -> Array:
    return in_units(rng, rows)[:, 0]


def consistent_with_five_percent(count: int) -> bool:
    """Return whether `count` lies where a probability of 5 % puts it in 998 of 1,000 cases."""
    return binom.ppf(0.001, REPETITIONS, 0.05) <= count <= binom.ppf(0.999, REPETITIONS, 0.05)


def test_the_null_has_level_5_percent_for_independent_rows() -> None:
    assert consistent_with_five_percent(count_exceeding(normal, spread))
    assert consistent_with_five_percent(count_exceeding(long_tailed, spread))


def test_the_null_keeps_its_level_for_units() -> None:
    """A metric that is constant within units exceeds the threshold in 5 % of cases; others do so less often."""
    assert consistent_with_five_percent(count_exceeding(in_units, constant_within_units, rows=3000, unit=50))
    assert count_exceeding(in_units, correlated_within_units, rows=3000, unit=50) <= binom.ppf(0.999, REPETITIONS, 0.05)
    assert count_exceeding(in_units, constant_within_units, rows=3000, unit=1) > REPETITIONS * 0.9


def test_the_null_keeps_its_level_for_a_rare_metric() -> None:
    """Signs are enough for normal activations; with long tails, draws from the metric's own values are needed."""
    assert consistent_with_five_percent(count_exceeding(normal, rare, drawn=True))
    assert consistent_with_five_percent(count_exceeding(long_tailed, rare, drawn=True))
    assert count_exceeding(long_tailed, rare) > REPETITIONS * 0.2
