"""From shards to tables without Ray: ranking by parts gives what ranking everything at once would."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from skilljobs.reduce import layers
from skilljobs.reduce.final_tables import delete_unranked, write_correlations, write_rankings
from skilljobs.reduce.layers import ReduceJob, pairs, reduce_layer
from skilljobs.reduce.significance import rank_pair
from skilljobs.reduce.unranked import Part, open_layer, write_layer
from skilljobs.stats.correlate import false_discovery_rate, strongest_first
from skilljobs.store.files import Folder
from tests.benchmarks.synthetic_run import Shape, write_run

SHAPE = Shape(layers=3, width=700, metrics=2, nulls=2, groups=2, shards=5)
FILES = [*(f"correlations/layer-{layer:03d}.parquet" for layer in range(3)), "top.parquet", "null_maxima.parquet"]


def reduced(uri: Path, shape: Shape) -> ReduceJob:
    """All steps, the rankings in the reverse order."""
    job = replace(shape.reduce_job(str(uri)), keep_null=True)
    for layer in range(job.layers):
        reduce_layer(job, layer)
    ranked = [rank_pair(job, place) for place in reversed(range(len(pairs(job.layout))))]
    for layer in range(job.layers):
        write_correlations(job, layer)
    write_rankings(job, ranked)
    once = [Path(uri, name).read_bytes() for name in ("top.parquet", "null_maxima.parquet")]
    write_rankings(job, ranked)  # as Ray repeats a task whose worker dies
    assert [Path(uri, name).read_bytes() for name in ("top.parquet", "null_maxima.parquet")] == once
    delete_unranked(job)
    return job


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    uri = tmp_path_factory.mktemp("run")
    write_run(str(uri), SHAPE)
    reduced(uri, SHAPE)
    return uri


def test_q_and_top_are_those_of_all_layers_at_once(run: Path) -> None:
    correlations = pl.concat([pl.read_parquet(run / name) for name in FILES[:3]])
    top = pl.read_parquet(run / "top.parquet")
    assert not (run / "unranked").exists()
    seen = []
    for (metric, population), rows in correlations.group_by("metric", "population", maintain_order=True):
        seen.append((metric, population))
        assert len(rows) == 3 * 700
        np.testing.assert_array_equal(rows["q"], false_discovery_rate(rows["p"].to_numpy()))
        strongest = rows.sort(pl.col("r").abs(), descending=True, maintain_order=True).head(1000)
        assert top.filter(metric=metric, population=population).equals(strongest)
    assert seen == pairs(SHAPE.layout)


def test_metrics_a_few_at_a_time_give_the_same_bytes(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_run(str(tmp_path), SHAPE)
    monkeypatch.setattr(layers, "SUMS_BYTES", 3 * 700 * 3 * 8)
    reduced(tmp_path, SHAPE)
    for name in FILES:
        assert (tmp_path / name).read_bytes() == (run / name).read_bytes(), name


def test_the_best_token_of_each_neuron_has_a_q_over_the_whole_model(tmp_path: Path) -> None:
    shape = Shape(layers=2, width=40, metrics=1, groups=0, shards=2, tokens=3)
    write_run(str(tmp_path), shape)
    reduced(tmp_path, shape)
    rows = pl.concat([pl.read_parquet(tmp_path / name) for name in FILES[:2]])
    best = pl.read_parquet(tmp_path / "best.parquet")
    strongest = rows.sort(pl.col("r").abs(), descending=True).unique(["layer", "neuron"], keep="first")
    expected = strongest.sort("layer", "neuron").with_columns(p=(3 * pl.col("p")).clip(upper_bound=1.0))
    assert best.sort("layer", "neuron").select("token", "r", "p").equals(expected.select("token", "r", "p"))
    np.testing.assert_array_equal(best["q"], false_discovery_rate(best["p"].to_numpy()))


@pytest.mark.parametrize("count", [1, 3, 6, 10, 20])
def test_ties_keep_their_order_however_few_are_taken(count: int) -> None:
    r = np.array([0.5, np.nan, -0.5, 0.1, 0.5, -0.9, 0.0, np.nan, 0.5, -0.1])
    order = np.argsort(-np.nan_to_num(np.abs(r), nan=-1.0), kind="stable")
    assert strongest_first(r, count).tolist() == [place for place in order.tolist() if not np.isnan(r[place])][:count]


def test_parts_are_found_by_their_place_in_whatever_order_they_were_written(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path))
    parts = ((place, Part({"r": np.full(2, float(place))}, place, 1)) for place in (2, 0, 3, 1))
    write_layer(folder, 0, ("r",), parts)
    with open_layer(folder, 0) as layer:
        for place in (3, 0, 1, 2):
            part = layer.part(place)
            assert (part.n, part.columns["r"].tolist()) == (place, [place, place])
