"""Controls match their set, and what is no more than noise seldom looks like an effect."""

import numpy as np
import pytest
from numpy.typing import NDArray

from skilljobs.stats.bootstrap import interval_over_units
from skilljobs.stats.controls import Traits, matched_controls, most_matched, p_among, shared_part

LAYERS, WIDTH = 4, 400


def traits(rng: np.random.Generator, layers: int = LAYERS, width: int = WIDTH) -> tuple[Traits, NDArray[np.float64]]:
    layer = np.repeat(np.arange(layers), width)
    spread = rng.lognormal(size=layers * width)
    return Traits.of(layer, spread, rng.lognormal(sigma=0.5, size=layers * width)), spread


def test_controls_match_layer_spread_and_norm_and_leave_the_set_out() -> None:
    rng = np.random.default_rng(0)
    known, _ = traits(rng)
    chosen = rng.choice(LAYERS * WIDTH, 12, replace=False)
    controls = matched_controls(chosen.tolist(), known, 50, seed=0)
    assert len(controls) == 50
    assert len({frozenset(control.tolist()) for control in controls}) == 50
    steps, norms = [], []
    for control in controls:
        assert len(set(control.tolist())) == 12
        assert not set(control.tolist()) & set(chosen.tolist())
        assert (known.layer[control] == known.layer[chosen]).all()
        steps.append(np.abs(known.decile[control] - known.decile[chosen]).mean())
        norms.append(np.abs(np.log(known.norm[control] / known.norm[chosen])).mean())
    assert np.mean(steps) < 0.5, "a decile has 40 neurons, a few of them in the set or taken"
    random_norms = np.abs(np.log(known.norm[rng.permutation(LAYERS * WIDTH)] / known.norm)).mean()
    assert np.mean(norms) < random_norms
    assert matched_controls(chosen.tolist(), known, 50, seed=0)[7].tolist() == controls[7].tolist()
    assert matched_controls(chosen.tolist(), known, 50, seed=1)[7].tolist() != controls[7].tolist()


def test_where_a_decile_is_large_controls_are_of_it_and_near_in_norm() -> None:
    rng = np.random.default_rng(0)
    known, _ = traits(rng, 2, 2000)
    chosen = rng.choice(4000, 5, replace=False)
    for control in matched_controls(chosen.tolist(), known, 20, seed=0):
        assert (known.decile[control] == known.decile[chosen]).all()
        nearest = np.abs(np.log(known.norm[control] / known.norm[chosen]))
        random = np.abs(np.log(known.norm[rng.choice(4000, 5)] / known.norm[chosen]))
        assert nearest.mean() < 0.5 * max(random.mean(), 0.2)


def test_one_neuron_has_no_more_controls_than_its_layer_has_others() -> None:
    """Or p would be smaller than so few neurons allow."""
    known, _ = traits(np.random.default_rng(0), 2, 16)
    controls = matched_controls([3], known, 199, seed=0)
    assert sorted(int(control[0]) for control in controls) == [n for n in range(16) if n != 3]


def test_a_set_that_leaves_too_few_neurons_is_named_by_its_layer() -> None:
    known, _ = traits(np.random.default_rng(0), 3, 10)
    assert most_matched([10, 11, 12, 13, 14], known) is None
    assert most_matched([0, 10, 11, 12, 13, 14, 15], known) == 1


def test_p_is_the_share_of_controls_as_far_from_their_mean_plus_one() -> None:
    controls = np.array([[1.0, 5.0], [2.0, 5.0], [3.0, 5.0], [4.0, 5.0]])
    assert p_among(np.array([9.0, 5.0]), controls).tolist() == [1 / 5, 1.0]
    assert p_among(np.array([2.5, 4.0]), controls).tolist() == [1.0, 1 / 5]
    low = p_among(np.array([-9.0, np.nan]), controls)
    assert low[0] == 1 / 5, "an effect in the other direction is as extreme"
    assert np.isnan(low[1])
    assert np.isnan(p_among(np.array([1.0]), np.ones((1, 1)))).all()


def test_the_shared_part_of_controls() -> None:
    assert shared_part([np.array([1, 2]), np.array([3, 4])]) == 0.0
    assert shared_part([np.array([1, 2]), np.array([2, 1])]) == 1.0
    assert shared_part([np.array([1, 2]), np.array([2, 3]), np.array([4, 5])]) == pytest.approx(1 / 6)


@pytest.mark.parametrize(("size", "draws"), [(1, 20), (1, 199), (10, 20), (10, 199)])
def test_sets_from_rankings_of_noise_are_inside_their_controls(size: int, draws: int) -> None:
    """Of 200 repetitions at most 17 have p <= 0.05. Effects grow with spread, norm and depth, and have long tails."""
    hits = 0
    for repetition in range(200):
        rng = np.random.default_rng([repetition, size])
        known, spread = traits(rng)
        effects = rng.standard_t(4, LAYERS * WIDTH) * spread * known.norm * (1 + known.layer) + 0.3 * spread
        chosen = np.argsort(rng.normal(size=LAYERS * WIDTH))[:size].tolist()
        controls = matched_controls(chosen, known, draws, repetition)
        of_controls = np.array([[effects[control].sum()] for control in controls])
        hits += bool(p_among(np.array([effects[chosen].sum()]), of_controls, shared_part(controls))[0] <= 0.05)
    assert hits <= 17


def test_a_set_that_does_something_is_outside_its_controls() -> None:
    found = []
    for repetition in range(30):
        rng = np.random.default_rng(repetition)
        known, spread = traits(rng)
        effects = rng.normal(size=LAYERS * WIDTH) * spread
        chosen = rng.choice(LAYERS * WIDTH, 10, replace=False).tolist()
        effects[chosen] -= 3 * spread[chosen]
        controls = matched_controls(chosen, known, 20, repetition)
        of_controls = np.array([[effects[control].sum()] for control in controls])
        found.append(p_among(np.array([effects[chosen].sum()]), of_controls)[0] <= 0.05)
    assert np.mean(found) > 0.8


def test_the_interval_holds_the_mean_in_95_percent_where_units_repeat() -> None:
    covered, narrow = [], []
    for repetition in range(150):
        rng = np.random.default_rng(repetition)
        units = np.repeat(np.arange(40), rng.integers(1, 12, 40))
        values = rng.normal(size=40)[units] + rng.normal(size=len(units))
        low, high = interval_over_units(values[:, None], units, repetition)
        covered.append(low[0] <= 0 <= high[0])
        low, high = interval_over_units(values[:, None], np.arange(len(units)), repetition)
        narrow.append(low[0] <= 0 <= high[0])
    assert 0.88 < np.mean(covered) < 0.98
    assert np.mean(narrow) < 0.8, "drawing examples takes what units share for evidence"


def test_one_unit_has_no_interval() -> None:
    low, high = interval_over_units(np.ones((5, 2)), np.zeros(5, np.int64), 0)
    assert np.isnan(low).all()
    assert np.isnan(high).all()
