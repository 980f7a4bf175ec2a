"""Null metrics within groups and with metrics held fixed, from sums over all examples; thresholds that are scaled."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import binom

from skilljobs.reduce.null_maxima import largest_of_layers, null_maxima_of, null_maxima_within
from skilljobs.reduce.shard_sums import read_moments, read_totals
from skilljobs.reduce.unranked import Part
from skilljobs.stats.layout import ALL, Layout, Metric
from skilljobs.stats.neurons import LayerNeurons
from skilljobs.stats.null import family_wise_threshold, null_signs
from skilljobs.stats.null_within import covers_all, has_group_moments, null_centred
from skilljobs.stats.partial import partial
from skilljobs.stats.totals import LayerTotals, Moments
from skilljobs.store.files import Folder
from skilljobs.store.references import REFERENCE_NAME, reference_bytes
from skilljobs.store.shards import moments_file, moments_name, sums_file, sums_name
from skilljobs.worker.accumulator import SumsAccumulator

Array = NDArray[np.float64]
Totals = tuple[LayerTotals, list[LayerTotals | None]]
NULLS = ("null:0", "null:1")
LAYOUT = Layout(
    (Metric("words", "external", False), Metric("level", "external", True), *(Metric(n, "null", False) for n in NULLS)),
    (ALL, "g=0", "g=1", "g=2", "h=0"),
    {"g": ("g=0", "g=1", "g=2"), "h": ("h=0",)},
)
ROWS, NEURONS = 90, 5


def draw() -> tuple[Array, Array, NDArray[np.int64]]:
    """Activations with a constant neuron, metrics, and groups of which the last is a single example."""
    rng = np.random.default_rng(0)
    group = rng.integers(0, 2, ROWS)
    group[17] = 2
    words = rng.normal(5, 2, ROWS) + group
    activations = rng.normal(3, 1, (ROWS, NEURONS)) + group[:, None] + words[:, None] * 0.3
    activations[:, 4] = 7.0
    level = np.where(np.arange(ROWS) % 4 == 0, np.nan, rng.normal(size=ROWS))
    return activations, np.column_stack([words, level, null_signs([str(n) for n in range(ROWS)], 2)]), group


def totals_of(folder: Folder) -> Totals:
    activations, values, group = draw()
    neurons = [LayerNeurons(0, NEURONS)]
    reference = torch.from_numpy(activations[:8].mean(0)[None])
    folder.write(REFERENCE_NAME, reference_bytes([reference.numpy()], neurons, False))
    members = np.column_stack([np.ones(ROWS, bool), *(group == g for g in range(3)), group == 0])
    for shard, rows in enumerate(np.array_split(np.arange(ROWS), 4)):
        accumulator = SumsAccumulator(LAYOUT, [reference], torch.tensor([4.0, 0.0, 0.1, 0.0]))
        here = torch.from_numpy(activations[rows][:, None])
        accumulator.add([here], torch.from_numpy(values[rows]), torch.from_numpy(members[rows]))
        sums = accumulator.result()
        folder.write(sums_name(shard), sums_file(sums, LAYOUT, neurons, None))
        folder.write(moments_name(shard), moments_file(sums, LAYOUT))
    return read_totals(folder, ((0, 1), (2, 3)), 0, LAYOUT)


@pytest.fixture(scope="module")
def totals(tmp_path_factory: pytest.TempPathFactory) -> Totals:
    return totals_of(Folder(str(tmp_path_factory.mktemp("totals"))))


def r_of_residuals(design: Array, rows: slice) -> Array:
    """Return the correlations of both null metrics with every neuron, once `design` is regressed out of all."""
    activations, values, _ = draw()
    columns: Array = np.column_stack([values[rows, 2:], activations[rows]])
    residuals = np.asarray(columns - design[rows] @ np.linalg.lstsq(design[rows], columns, rcond=None)[0])
    residuals[:, -1] = np.nan
    return np.asarray(np.corrcoef(residuals.T))[:2, 2:]


def test_within_groups_they_are_those_of_residuals(totals: Totals) -> None:
    _, _, group = draw()
    groups = (group[:, None] == np.arange(3)).astype(float)
    freedom = []
    for part, rows in zip((totals[0], *totals[1]), (slice(0, 90), slice(0, 46), slice(46, 90)), strict=True):
        assert part is not None
        centred = null_centred(part, NULLS, "within:g")
        assert centred is not None
        np.testing.assert_allclose([c.r() for c in centred], r_of_residuals(groups, rows), atol=1e-12)
        freedom.append(centred[0].degrees_of_freedom)
    assert freedom == [90 - 4, 46 - 4, 44 - 3], "the group of one example is in half 0"


def test_groups_that_leave_examples_out_have_none(totals: Totals) -> None:
    whole, halves = totals
    assert null_centred(whole, NULLS, "within:h") is None
    assert not covers_all(whole.moments, LAYOUT, "null:0", "within:h")
    rows = largest_of_layers([null_maxima_within(whole, halves, NULLS)] * 2).to_pylist()
    assert [(row["metric"], row["population"], row["n"]) for row in rows] == [(n, "within:g", ROWS) for n in NULLS]
    centred = null_centred(whole, NULLS, "within:g")
    assert centred is not None
    assert [row["r"] for row in rows] == [np.nanmax(np.abs(c.r())) for c in centred]
    assert all(row["r_half0"] is not None for row in rows)


def test_partial_correlations_of_null_metrics_are_those_of_residuals(totals: Totals) -> None:
    _, values, _ = draw()
    design = np.column_stack([np.ones(ROWS), values[:, 0]])
    found = []
    for null in NULLS:
        given = totals[0].given(null, ["words"], ALL)
        assert given is not None
        found.append(partial(totals[0].centred(null, ALL), given).r())
    np.testing.assert_allclose(found, r_of_residuals(design, slice(0, ROWS)), atol=1e-12)


def test_a_run_that_mixes_old_and_new_shards_has_what_both_have(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path))
    totals_of(folder)
    new = read_moments(folder, [0])
    assert new is not None
    assert has_group_moments(new, LAYOUT, "null:0", "within:g")
    kept = [key for key in new.index if key[0] == ALL or not key[1].startswith("null")]
    places = [new.index[key] for key in kept]
    old = Moments({key: row for row, key in enumerate(kept)}, new.n[places], new.sums[:, places])
    for both in (old + new, new + old):
        assert not has_group_moments(both, LAYOUT, "null:0", "within:g")
        assert both.pair("g=1", "words", "words")[1] == 2 * new.pair("g=1", "words", "words")[1]
        assert both.r(ALL, "words", "null:0") == pytest.approx(new.r(ALL, "words", "null:0"))


def test_the_moments_give_the_correlation_of_two_metrics(totals: Totals) -> None:
    _, values, group = draw()
    moments = totals[0].moments
    has = ~np.isnan(values[:, 1])
    assert moments.r(ALL, "level", "words") == pytest.approx(np.corrcoef(values[has, 0], values[has, 1])[0, 1])
    assert moments.r("g=2", "words", "level") is None
    inside = has & (group == 1)
    assert moments.r("g=1", "words", "level") == pytest.approx(np.corrcoef(values[inside, 0], values[inside, 1])[0, 1])
    assert moments.yes_no_counts(LAYOUT, "words", ALL) == []


def test_the_maximum_is_over_all_layers_and_leaves_nulls_out() -> None:
    nan = np.nan
    layers = [
        Part({"r": np.array([0.1, r]), "r_half0": np.array([nan, 0.2]), "r_half1": np.array([nan, nan])}, 7, 5)
        for r in (-0.4, 0.3)
    ]
    (row,) = null_maxima_of("null:0", ALL, layers).to_pylist()
    assert row == {"metric": "null:0", "population": ALL, "n": 7, "r": 0.4, "r_half0": 0.2, "r_half1": None}


@pytest.mark.parametrize("share", [0.2, 0.5])
def test_pure_noise_exceeds_a_scaled_threshold_in_five_percent_of_cases(share: float) -> None:
    """A metric that only a share of the examples has, against the threshold of all of them times the root."""
    repetitions, rows, draws, exceeded = 400, 1000, 19, 0
    for repetition in range(repetitions):
        rng = np.random.default_rng(repetition)
        neurons = rng.normal(size=(rows, 40)) @ rng.normal(size=(40, 60))
        signs = null_signs([f"{repetition}-{row}" for row in range(rows)], draws)
        threshold = family_wise_threshold(largest_r(neurons, signs).tolist())
        assert threshold is not None
        has = rng.random(rows) < share
        scaled = threshold * np.sqrt((rows - 2) / (has.sum() - 2))
        exceeded += bool(largest_r(neurons[has], rng.normal(size=(int(has.sum()), 1)))[0] > scaled)
    assert binom.ppf(0.001, repetitions, 0.05) <= exceeded <= binom.ppf(0.999, repetitions, 0.05)


def largest_r(neurons: Array, metrics: Array) -> Array:
    neurons, metrics = ((x - x.mean(0)) / x.std(0) for x in (neurons, metrics))
    return np.asarray(np.abs(neurons.T @ metrics / len(neurons)).max(0))
