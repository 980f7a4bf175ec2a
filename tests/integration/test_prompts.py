"""A run of several soft prompts."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import skilljobs
from skilljobs.analysis.comparing import agreement
from skilljobs.errors import InputError
from skilljobs.progress.reporter import SilentReporter
from tests.tables import random_rows, write_jsonl

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_here")]


class StageRecorder(SilentReporter):
    """Remembers which stages began."""

    def __init__(self) -> None:
        self.stages: list[str] = []

    def begin(self, stage: str, total: int | None) -> None:
        self.stages.append(stage)


@pytest.fixture(scope="module")
def recorder() -> StageRecorder:
    return StageRecorder()


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory, small_llama: Path, recorder: StageRecorder) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("prompts")
    data = write_jsonl(folder / "table.jsonl", random_rows(200))
    return {
        "data": str(data), "model": str(small_llama), "soft_prompt": "random", "prompt_length": 3, "by": "kind",
        "null": 2, "keep_null": True, "out": str(folder), "reporter": recorder,
        "report": False,
    }  # fmt: skip


@pytest.fixture(scope="module")
def run(ray_here: object, options: dict[str, Any]) -> skilljobs.Run:
    return skilljobs.submit(prompts=2, seed=5, **options)


def ordered(run: skilljobs.store.reader.RunReader) -> pl.DataFrame:
    return run.correlations().sort("population", "metric", "layer", "neuron").collect()


def test_the_model_is_loaded_once_for_all_prompts(run: skilljobs.Run, recorder: StageRecorder) -> None:
    assert recorder.stages.count("load") == recorder.stages.count("ray") == 1
    assert recorder.stages.count("collect") == 2
    for prompt in run.prompts():
        assert prompt.record.is_complete
        assert [layer.count for layer in prompt.record.neurons] == [24, 24]


def test_r_is_the_mean_over_the_prompts_and_its_interval_that_of_one(run: skilljobs.Run) -> None:
    whole, first, second = (ordered(each) for each in (run, *run.prompts()))
    assert not first["r"].equals(second["r"])
    for column in ("r", "r_half0", "r_half1"):
        z = (np.arctanh(first[column].to_numpy()) + np.arctanh(second[column].to_numpy())) / 2
        np.testing.assert_allclose(whole[column].to_numpy(), np.tanh(z), atol=1e-15)
    z = np.arctanh(whole["r"].to_numpy())
    for side in ("ci_low", "ci_high"):
        of_one = np.arctanh(first[side].to_numpy()) - np.arctanh(first["r"].to_numpy())
        np.testing.assert_allclose(np.arctanh(whole[side].to_numpy()) - z, of_one, atol=1e-12)
    assert whole["n"].equals(first["n"])
    assert whole.filter(pl.col("metric") == "words", pl.col("q") < pl.col("p")).is_empty()
    assert run.top("words", k=1)["r"].abs().item() == whole.filter(metric="words", population="all")["r"].abs().max()


def test_a_prompt_is_what_a_run_of_its_seed_makes(run: skilljobs.Run, options: dict[str, Any]) -> None:
    alone = skilljobs.submit(seed=5, prompt_seed=6, **options)
    assert ordered(alone).equals(ordered(run.prompts()[1]))
    assert skilljobs.submit(prompts=2, seed=5, **options).uri == run.uri


def test_tables_of_several_prompts_say_which(run: skilljobs.Run) -> None:
    scores = run.scores().collect()
    rows = sum(run.record.shards)
    assert scores.group_by("prompt").len().sort("prompt").rows() == [(0, rows), (1, rows)]
    assert run.examples().collect().height == rows
    assert run.committed_shards() == 2 * len(run.record.shards)
    with pytest.raises(InputError, match="has 2 soft prompts"):
        run.soft_prompt()


def test_partial_correlations_are_means_too(run: skilljobs.Run) -> None:
    key = ["layer", "neuron"]
    whole, first, second = (
        skilljobs.open_run(each.uri).top("confidence", k=48, given=["words"]).sort(key)
        for each in (run, *run.prompts())
    )
    z = (np.arctanh(first["r"].to_numpy()) + np.arctanh(second["r"].to_numpy())) / 2
    np.testing.assert_allclose(whole["r"].to_numpy(), np.tanh(z), atol=1e-12)


def test_agreement_has_a_row_for_every_two_prompts(run: skilljobs.Run) -> None:
    pairs = agreement(run, "words", "all", 10)
    assert pairs.select("prompt_first", "prompt_second", "neurons", "k").rows() == [(0, 1, 48, 10)]
    first, second = (ordered(prompt).filter(metric="words", population="all") for prompt in run.prompts())
    expected = np.corrcoef(first["r"], second["r"])[0, 1]
    assert pairs["r_correlation"].item() == pytest.approx(expected, abs=1e-12)
    with pytest.raises(InputError, match="one soft prompt"):
        agreement(run.prompts()[0], "words", "all", 10)
