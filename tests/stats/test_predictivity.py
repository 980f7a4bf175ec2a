"""Predictivity, against counting one example at a time."""

import numpy as np
import pytest

from skilljobs.stats.layout import ALL, Layout, Metric
from skilljobs.stats.predictivity import above_layout, accuracy, predictivity_columns, yes_no_metrics
from skilljobs.stats.totals import LayerSums, Moments

RNG = np.random.default_rng(0)


def counted(above: np.ndarray, y: np.ndarray, groups: np.ndarray | None = None) -> tuple[Layout, LayerSums, Moments]:
    """The counts and moments of examples x neurons (bool) and a nullable metric, NaN where an example lacks it."""
    names = (ALL,) if groups is None else (ALL, "g=0", "g=1")
    layout = Layout((Metric("m", "external", True),), names, {} if groups is None else {"g": names[1:]})
    members = [np.ones(len(y), bool), *([] if groups is None else [groups == 0, groups == 1])]
    columns: dict[str, list[np.ndarray]] = {"sum_a": [], "sum_ay:m": [], "sum_a:m": []}
    n, sums = [], []
    for inside in members:
        has = inside & ~np.isnan(y)
        columns["sum_a"].append(above[inside].sum(0))
        columns["sum_a:m"].append(above[has].sum(0))
        columns["sum_ay:m"].append((above[has] * y[has, None]).sum(0))
        n.append(has.sum())
        sums.append([np.nansum(y[inside])] * 5)
    moments = Moments({(name, "m", "m"): row for row, name in enumerate(names)}, np.array(n), np.array(sums).T)
    return layout, LayerSums({name: np.array(rows, float) for name, rows in columns.items()}), moments


@pytest.mark.parametrize("population", [ALL, "g=1", "within:g"])
def test_accuracy_is_that_of_counting(population: str) -> None:
    above = RNG.random((60, 5)) < 0.4
    above[:, 3], above[:, 4] = True, False
    y = np.where(RNG.random(60) < 0.2, np.nan, RNG.integers(0, 2, 60).astype(float))
    groups = RNG.integers(0, 2, 60)
    inside = ~np.isnan(y) & (groups == 1 if population == "g=1" else True)
    found = accuracy(*counted(above, y, groups), "m", population)
    expected = (above[inside] == y[inside, None]).mean(0)
    assert np.allclose(found[:3], expected[:3])
    assert np.isnan(found[3:]).all(), "a neuron on one side of its threshold predicts nothing"


def test_a_constant_metric_is_predicted_by_nothing() -> None:
    above = RNG.random((20, 3)) < 0.5
    for constant in (0.0, 1.0, np.nan):
        assert np.isnan(accuracy(*counted(above, np.full(20, constant)), "m", ALL)).all()


def test_the_token_is_chosen_on_half_0_and_measured_on_half_1() -> None:
    half_0 = np.array([[0.6, np.nan, np.nan], [0.1, 0.5, np.nan]])
    half_1 = np.array([[0.9, 0.8, 0.7], [0.55, 0.3, 0.9]])
    columns = predictivity_columns([half_0.ravel(), half_1.ravel()], tokens=2, keeps_tokens=False)
    assert np.allclose(columns["predictivity"], [0.05, 0.2, np.nan], equal_nan=True)
    assert np.allclose(columns["predictivity_token"], [1, 1, np.nan], equal_nan=True)
    each = predictivity_columns([half_0.ravel(), half_1.ravel()], tokens=2, keeps_tokens=True)
    assert np.allclose(each["predictivity"], [0.4, 0.3, 0.2, 0.05, 0.2, 0.4])
    assert each["predictivity_token"].tolist() == [0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize("missing", [0, 1])
def test_without_one_of_the_halves_nothing_is_claimed(missing: int) -> None:
    halves: list[np.ndarray | None] = [np.full(4, 0.9), np.full(4, 0.9)]
    halves[missing] = None
    columns = predictivity_columns(halves, tokens=2, keeps_tokens=False)
    assert columns["predictivity"].shape == (2,)
    assert np.isnan(columns["predictivity"]).all()


def test_only_metrics_of_two_values_are_yes_or_no() -> None:
    layout = Layout(
        (
            Metric("flag", "external", False),
            Metric("some", "external", True),
            Metric("half", "external", False),
            Metric("correct", "model", False),
            Metric("margin", "model", False),
            Metric("null:0", "null", False),
        ),
        (ALL,),
        {},
    )
    external = {"flag": np.array([0.0, 1.0]), "some": np.array([np.nan, 1.0]), "half": np.array([0.0, 0.5])}
    found = yes_no_metrics(layout, external)
    assert found == ("flag", "some", "correct")
    assert [metric.name for metric in above_layout(layout, found).metrics] == list(found)
