"""Correlations computed from sums agree with exact arithmetic."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from skilljobs.stats.centred import Centred
from skilljobs.stats.correlate import false_discovery_rate, interval, p_value
from skilljobs.stats.layout import ALL, Layout, Metric
from skilljobs.stats.sums import ShardSums
from skilljobs.worker.accumulator import SumsAccumulator, activation_reference, metric_reference
from tests.exact import exact_r

PLAIN = Layout((Metric("y", "external", False),), (ALL,), {})


def stream(a: np.ndarray, y: np.ndarray, first: int, sizes: list[int]) -> Centred:
    """Return the sums of `a` and `y` added in batches of `sizes`, with references from the first `first` rows."""
    activations = torch.from_numpy(a.astype(np.float64))[:, None, None]
    values = torch.from_numpy(y.astype(np.float64))[:, None]
    reference = activation_reference(activations[:first])
    metric = metric_reference(values[:first, 0])
    accumulator = SumsAccumulator(PLAIN, [reference], torch.tensor([metric]))
    start = 0
    for size in sizes:
        rows = slice(start, start + size)
        accumulator.add([activations[rows]], values[rows], torch.ones(len(activations[rows]), 1, dtype=torch.bool))
        start += size
    return centred(accumulator.result(), reference.numpy().ravel())


def centred(sums: ShardSums, reference: np.ndarray) -> Centred:
    return Centred.of(
        n=int(sums.count[0]),
        sum_a=sums.linear[0][0, 0],
        sum_aa=sums.square[0][0, 0],
        sum_ay=sums.linear[0][0, 1],
        sum_y=float(sums.moment_sum[0, 0, 0]),
        sum_yy=float(sums.moment_square[0, 0, 0]),
        reference=reference,
    )


@pytest.mark.parametrize("offset", [0.0, 1.0, 1e3, 1e8, -1e8])
@pytest.mark.parametrize("spread", [1e-30, 1e-3, 1.0, 1e30])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_r_equals_exact_arithmetic(offset: float, spread: float, dtype: type) -> None:
    rng = np.random.default_rng(7)
    with np.errstate(over="ignore"):
        a: NDArray[Any] = (offset * spread + spread * rng.normal(size=200)).astype(dtype)
    if not np.isfinite(a).all():
        pytest.skip("out of range for this type")
    y = (0.3 * rng.normal(size=200) + rng.normal(size=200) * 0.1 + 5).astype(np.float64)
    expected = exact_r(a, y)
    r = stream(a, y, first=32, sizes=[64] * 4).r()[0]
    if expected is None:
        assert math.isnan(r)
    else:
        assert r == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("offset", [1.0, 1e4, 1e8])
@pytest.mark.parametrize("spread", [1e-30, 1e-6, 1e-3, 1e3])
def test_r_equals_exact_arithmetic_for_any_ratio_of_spread_to_mean(offset: float, spread: float) -> None:
    """If the spread is too small to be represented next to the mean, the values are constant and r is undefined."""
    rng = np.random.default_rng(11)
    a, y = offset + spread * rng.normal(size=300), rng.normal(1e8, 1.0, 300)
    expected = exact_r(a, y)
    r = stream(a, y, first=20, sizes=[40] * 8).r()[0]
    assert math.isnan(r) if expected is None else r == pytest.approx(expected, abs=1e-9)


@settings(max_examples=150, deadline=None)
@given(
    a=st.lists(st.floats(-1e6, 1e6, width=32), min_size=2, max_size=40),
    seed=st.integers(0, 2**32 - 1),
    first=st.integers(1, 10),
    cut=st.integers(1, 39),
)
def test_r_is_right_or_null_for_any_values_and_batches(a: list[float], seed: int, first: int, cut: int) -> None:
    values = np.array(a, np.float64)
    y = np.random.default_rng(seed).integers(0, 3, len(a)).astype(np.float64)
    expected = exact_r(values, y)
    r = stream(values, y, first, [cut, max(0, len(a) - cut)]).r()[0]
    if expected is None:
        assert math.isnan(r)
    elif not math.isnan(r):
        assert -1 <= r <= 1
        assert r == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("value", [0.0, 0.1, 1 / 3, 1e8 + 1 / 3, -7e-30, 3e30])
@pytest.mark.parametrize("first", [1, 3, 64])
def test_a_constant_has_no_r(value: float, first: int) -> None:
    rng = np.random.default_rng(1)
    constant, varying = np.full(5000, value), rng.normal(size=5000)
    sizes = [first] + [37] * 140
    assert math.isnan(stream(constant, varying, first, sizes).r()[0])
    assert math.isnan(stream(varying, constant, first, sizes).r()[0])


def test_a_group_constant_far_from_the_reference_has_no_r() -> None:
    layout = Layout((Metric("y", "external", False),), (ALL, "g=1", "g=2"), {"g": ("g=1", "g=2")})
    rng = np.random.default_rng(2)
    rows = 4000
    group = torch.from_numpy(rng.integers(1, 3, rows))
    a = torch.from_numpy(np.where(group.numpy() == 1, 0.1 + 1e5 / 3, rng.normal(size=rows)))[:, None, None]
    y = torch.from_numpy(rng.normal(size=rows))[:, None]
    accumulator = SumsAccumulator(layout, [torch.zeros(1, 1, dtype=torch.float64)], torch.zeros(1))
    members = torch.stack([torch.ones(rows, dtype=torch.bool), group == 1, group == 2], 1)
    for start in range(0, rows, 50):
        batch = slice(start, start + 50)
        accumulator.add([a[batch]], y[batch], members[batch])
    sums = accumulator.result()
    parts = [
        Centred.of(
            int(sums.count[k]), sums.linear[0][k, 0], sums.square[0][k, 0],
            sums.linear[0][k, 1], float(sums.moment_sum[k, 0, 0]), float(sums.moment_square[k, 0, 0]),
            np.zeros(1),
        )
        for k in (1, 2)
    ]  # fmt: skip
    assert math.isnan(parts[0].r()[0])
    within = Centred.pooled(parts)
    numpy_r = np.corrcoef(a[group == 2, 0, 0], y[group == 2, 0])[0, 1]
    assert parts[1].r()[0] == pytest.approx(numpy_r, abs=1e-9)
    assert abs(within.r()[0]) < abs(numpy_r) + 1e-12
    assert within.degrees_of_freedom == rows - 3


def test_shards_of_any_size_and_order_give_the_same_r() -> None:
    rng = np.random.default_rng(3)
    a, y = rng.normal(1e4, 1e-2, 500), rng.normal(size=500)
    whole = stream(a, y, 10, [500]).r()[0]
    order = np.concatenate([np.arange(10), 10 + rng.permutation(490)])
    for sizes in ([1] * 500, [10, 0, 490], [333, 167]):
        assert stream(a[order], y[order], 10, sizes).r()[0] == pytest.approx(whole, abs=1e-12)


def test_counts_may_exceed_two_to_the_24() -> None:
    n = 2**25 + 1
    parts = Centred.of(n, np.array([0.0]), np.array([float(n)]), np.array([0.5 * n]), 0.0, float(n), np.zeros(1))
    assert parts.n == n
    assert parts.r()[0] == pytest.approx(0.5)


@pytest.mark.parametrize("n", [4, 5, 30, 3000])
def test_p_and_interval_agree_with_scipy(n: int) -> None:
    rng = np.random.default_rng(n)
    a, y = rng.normal(size=n), rng.normal(size=n)
    reference = stats.pearsonr(a, y)
    streamed = stream(a, y, 2, [n])
    r = streamed.r()
    assert p_value(r, streamed.degrees_of_freedom)[0] == pytest.approx(reference.pvalue, rel=1e-6)
    low, high = interval(r, streamed.degrees_of_freedom)
    expected = reference.confidence_interval(0.95)
    assert (low[0], high[0]) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_statistics_of_degenerate_counts_are_nan_only_where_undefined() -> None:
    one = stream(np.array([1.0]), np.array([2.0]), 1, [1])
    assert math.isnan(one.r()[0])
    two = stream(np.array([1.0, 2.0]), np.array([1.0, 3.0]), 1, [2])
    assert two.r()[0] == pytest.approx(1.0)
    assert math.isnan(p_value(two.r(), two.degrees_of_freedom)[0])
    assert math.isnan(interval(two.r(), two.degrees_of_freedom)[0][0])
    assert p_value(np.array([1.0, -1.0]), 5).tolist() == [0.0, 0.0]
    assert interval(np.array([1.0]), 5)[1][0] == 1.0


def test_q_is_benjamini_hochberg_and_ignores_nan() -> None:
    p = np.array([0.01, np.nan, 0.04, 0.03, 0.2])
    q = false_discovery_rate(p)
    assert math.isnan(q[1])
    np.testing.assert_allclose(q[[0, 2, 3, 4]], [0.04, 0.16 / 3, 0.16 / 3, 0.2])


def test_a_missing_value_is_omitted_from_its_own_metric_only() -> None:
    layout = Layout((Metric("y", "external", True), Metric("z", "external", False)), (ALL,), {})
    rng = np.random.default_rng(5)
    a, y, z = rng.normal(3, 1, (3, 200))
    y[::3] = np.nan
    accumulator = SumsAccumulator(layout, [torch.full((1, 1), 3.0, dtype=torch.float64)], torch.zeros(2))
    values = torch.from_numpy(np.stack([y, z], 1))
    accumulator.add([torch.from_numpy(a)[:, None, None]], values, torch.ones(200, 1, dtype=torch.bool))
    sums = accumulator.result()
    has = ~np.isnan(y)
    present = Centred.of(
        int(sums.moment_count[0, 0, 0]), sums.linear[0][0, 3], sums.square[0][0, 1],
        sums.linear[0][0, 1], float(sums.moment_sum[0, 0, 0]), float(sums.moment_square[0, 0, 0]), np.zeros(1),
    )  # fmt: skip
    assert present.n == has.sum()
    assert present.r()[0] == pytest.approx(np.corrcoef(a[has], y[has])[0, 1], abs=1e-12)
    both = sums.moment_product[0, 0, 1].item()
    assert both == pytest.approx((y[has] * z[has]).sum())
    assert int(sums.moment_count[0, 0, 1]) == has.sum()
