"""Metrics that are nearly the same, or have hardly any rows of one kind."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from skilljobs.stats import metric_traps
from skilljobs.stats.layout import Metric
from skilljobs.stats.metric_traps import NearPair, RareKind, near_pairs, pairwise_r, rare_kind, yes_no_counts


def pairs_of(values: Mapping[str, Any], levels: Sequence[str] = ()) -> list[tuple[str, str]]:
    names = list(values)
    r = pairwise_r([np.asarray(values[name], float) for name in names])
    metrics = [
        Metric(
            name, "null" if name.startswith("null") else "external", False, *(name.split("=") if name in levels else ())
        )
        for name in values
    ]
    found = near_pairs(metrics, lambda first, second: float(r[names.index(first), names.index(second)]))
    return [(pair.first, pair.second) for pair in found]


def test_each_pair_is_told_once_the_strongest_first() -> None:
    steps = np.arange(40.0)
    wobble = np.tile([0.0, 3.0, -3.0, 1.0], 10)
    values = {"a": steps, "b": steps + wobble, "c": -steps, "d": wobble, "null:0": steps}
    assert pairs_of(values) == [("a", "c"), ("a", "b"), ("b", "c")]


def test_a_category_of_two_levels_is_compared_by_its_first() -> None:
    yes = np.array([0, 1] * 20)
    nearly = yes + np.where(np.arange(40) == 7, 0.5, 0)
    values = {"k=a": yes, "k=b": 1 - yes, "x": nearly}
    assert pairs_of(values, levels=("k=a", "k=b")) == [("k=a", "x")]
    assert pairs_of(values) == [("k=a", "k=b"), ("k=a", "x"), ("k=b", "x")]
    three = {"k=a": [1] * 30 + [0] * 10, "k=b": [0] * 30 + [1] * 9 + [0], "k=c": [0] * 39 + [1]}
    assert pairs_of(three, levels=tuple(three)) == [], "levels that exclude each other are not told"


def test_correlations_are_over_the_rows_that_have_both(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(1e6, 1, (200, 5)) + np.arange(200)[:, None] * [0, 0.01, 0.02, -0.01, 0]
    values[rng.random((200, 5)) < 0.2] = np.nan
    values[:, 4] = 3.0
    found = pairwise_r(list(values.T))
    monkeypatch.setattr(metric_traps, "ROWS_AT_A_TIME", 7)
    assert pairwise_r(list(values.T)) == pytest.approx(found, abs=1e-12, nan_ok=True)
    for first, second in np.ndindex(4, 4):
        both = ~np.isnan(values[:, first]) & ~np.isnan(values[:, second])
        assert found[first, second] == pytest.approx(np.corrcoef(values[both, first], values[both, second])[0, 1])
    assert np.isnan(found[4]).all(), "a constant has no correlation"
    nan = float("nan")
    assert np.isnan(pairwise_r([np.array([1.0, 2.0, nan]), np.array([nan, nan, 3.0])])[0, 1])
    assert pairwise_r([np.array([1e100, -1e100, 0.0]), np.array([1.0, 2.0, 1.5])])[0, 1] == pytest.approx(-1)


def test_the_sentences_say_what_to_do() -> None:
    assert "`top --metric confidence --given 'my label'`" in NearPair("confidence", "my label", 0.97).sentence
    assert "each other's opposite" in NearPair("a", "b", -1.0).sentence
    assert "--given" not in NearPair("a", "b", 1.0).sentence, "nothing is left of one without the other"


@pytest.mark.parametrize(
    ("yes", "is_rare"), [(0, False), (1, True), (4, True), (5, False), (95, False), (96, True), (100, False)]
)
def test_fewer_than_five_of_either_kind_are_told(yes: int, is_rare: bool) -> None:
    values = np.array([1.0] * yes + [0.0] * (100 - yes) + [np.nan] * 7)
    found = rare_kind("m", yes_no_counts(values))
    assert found == (RareKind("m", min(yes, 100 - yes), 100, yes < 50) if is_rare else None)


def test_only_yes_no_metrics_have_kinds_and_groups_are_added_up() -> None:
    assert yes_no_counts(np.array([0.0, 1.0, 2.0])) == []
    assert rare_kind("m", [(40, 40), (2, 50), (0, 9)]) == RareKind("m", 2, 99, None)
    assert rare_kind("m", [(3, 40), (48, 50)]) is None
