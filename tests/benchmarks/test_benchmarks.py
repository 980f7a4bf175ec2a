"""The benchmarks run and agree on r; how fast they are is for people to read."""

import json
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from tests.benchmarks import ablate, collect, statistics, tune, utilisation

pytestmark = pytest.mark.slow


def figures_of(command: click.Command, folder: Path, *arguments: str) -> dict[str, Any]:
    file = folder / "figures.json"
    done = CliRunner().invoke(command, [*arguments, "--json", str(file)], catch_exceptions=False)
    assert done.exit_code == 0
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def test_statistics(tmp_path: Path) -> None:
    figures = figures_of(statistics.main, tmp_path, "--quick")
    assert figures["torchmetrics_over_skilljobs"] > 0
    assert all(row["skilljobs"] == "null" or float(row["skilljobs"]) < 1e-12 for row in figures["worst_errors"])


def test_collect_gives_the_r_of_the_naive_loop(tmp_path: Path) -> None:
    figures = figures_of(collect.main, tmp_path, "--limit", "24", "--shard", "12", "--no-memory")
    assert figures["max_abs_dr"] < 2e-5
    assert set(figures) == {
        "examples_per_second", "fraction_of_floor", "statistics_overhead", "peak_memory_mb", "max_abs_dr"
    }  # fmt: skip
    assert {"skilljobs", "naive"} <= set(figures["examples_per_second"])


def test_tune_takes_the_steps_of_the_plain_loop(small_llama: Path, tmp_path: Path) -> None:
    figures = figures_of(tune.main, tmp_path, "--model", str(small_llama), "--loss", "100", "--most-steps", "25")
    ours, plain = figures["skilljobs"], figures["plain loop"]
    assert ours["steps"] == plain["steps"] == 25
    assert ours["loss"] == pytest.approx(plain["loss"], rel=1e-3)


def test_utilisation_counts_no_more_than_the_device_does(tmp_path: Path) -> None:
    figures = figures_of(utilisation.main, tmp_path, "--shape", "small", "--shards", "2", "--shard-size", "16")
    assert 0 < figures["model_flops_utilisation"] < 1.5, "the peak is measured beside it, on a noisy machine"
    assert 0 < figures["collecting_share"] < 1.05, "of two shards at a time one computes"
    assert figures["bit_exact"]
    assert figures["device_busy_share"] is None, "there is no GPU here"


def test_ablate_gives_the_scores_of_one_set_at_a_time(tmp_path: Path) -> None:
    figures = figures_of(ablate.main, tmp_path, "--limit", "8", "--draws", "2", "--rounds", "1", "--one-by-one", "3")
    assert figures["difference"] < 1e-3
    assert figures["by_tokens"] > 1
    assert figures["speed_up"] > 0
