"""A soft prompt has the same bits whoever tunes it, and whatever happens meanwhile."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import psutil
import pytest
import torch

import skilljobs
from skilljobs.lm.prompt import read_prompt_bytes
from skilljobs.store.run import PROMPT_NAME, TUNING_EXAMPLES_NAME, TUNING_STATE_NAME
from tests.cluster.test_shared_scorers import processes_of_scorers
from tests.integration.test_damage import Notes
from tests.tables import random_rows, write_jsonl

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.usefixtures("ray_here")]


class AtStep(Notes):
    """Calls `then` once, when tuning has done `step` steps; keeps what stages say at their end, too."""

    def __init__(self, step: int = -1, then: Callable[[], None] = lambda: None) -> None:
        super().__init__()
        self._step, self._then, self._stage = step, then, ""

    def begin(self, stage: str, total: int | None) -> None:
        self._stage = stage

    def advance(self, done: int, detail: str) -> None:
        if self._stage == "tune" and done == self._step:
            self._step = -1
            self._then()

    def end(self, detail: str, seconds: float) -> None:
        self.notes.append(f"{self._stage}: {detail}")


class Options:
    """A job of few examples on a model whose bits depend on how a batch is cut."""

    def __init__(self, data: Path, model: Path) -> None:
        self._given = {"data": str(data), "model": str(model), "prompt_length": 2, "tune_steps": 16, "null": 1}

    def submit(self, out: Path, reporter: Notes, replicas: int, **more: object) -> skilljobs.Run:
        options: dict[str, Any] = {**self._given, **more}
        return skilljobs.submit(
            out=str(out), run_id="mine", report=False, replicas=replicas, reporter=reporter, **options
        )


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory, wide_llama: Path) -> Options:
    data = write_jsonl(tmp_path_factory.mktemp("data") / "table.jsonl", random_rows(300))
    return Options(data, wide_llama)


@pytest.fixture(scope="module")
def quiet(ray_here: object, tmp_path_factory: pytest.TempPathFactory, options: Options) -> skilljobs.Run:
    return options.submit(tmp_path_factory.mktemp("quiet"), Notes(), 1)


def prompt_of(run: skilljobs.store.reader.RunReader) -> torch.Tensor:
    return read_prompt_bytes(Path(run.uri, PROMPT_NAME).read_bytes()).vectors


def assert_same(run: skilljobs.Run, quiet: skilljobs.Run) -> None:
    assert torch.equal(prompt_of(run), prompt_of(quiet))
    assert run.tuning().collect().equals(quiet.tuning().collect())
    keys = ["metric", "population", "layer", "neuron"]
    one, other = (of.correlations().sort(keys).collect() for of in (run, quiet))
    assert one.equals(other)
    assert not Path(run.uri, TUNING_STATE_NAME).exists()


def test_two_scorers_find_the_prompt_of_one(tmp_path: Path, options: Options, quiet: skilljobs.Run) -> None:
    assert_same(options.submit(tmp_path, Notes(), 2), quiet)
    curve = quiet.tuning().collect().filter(pl.col("split") == "validation").sort("step")
    assert curve["loss"][-1] < curve["loss"][0]
    assert quiet.record.fingerprint.fields["numerics.tuning_parts"] == 4


def test_a_scorer_that_is_killed_within_a_step_costs_no_bit(
    tmp_path: Path, options: Options, quiet: skilljobs.Run
) -> None:
    killed: list[int] = []

    def kill() -> None:
        killed.append(min(processes_of_scorers()))
        psutil.Process(killed[0]).send_signal(signal.SIGKILL)

    reporter = AtStep(7, kill)
    assert_same(options.submit(tmp_path, reporter, 2), quiet)
    assert killed
    assert any("died" in note for note in reporter.notes), reporter.notes


def test_tuning_that_is_stopped_goes_on_where_it_was_stored(
    tmp_path: Path, options: Options, quiet: skilljobs.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("skilljobs.pipeline.run_tuning.STORE_SECONDS", 0.0)

    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        options.submit(tmp_path, AtStep(12, stop), 2)
    state = tmp_path / "mine" / TUNING_STATE_NAME
    stored = state.read_bytes()
    steps: list[int] = []
    reporter = AtStep()
    monkeypatch.setattr(reporter, "advance", lambda done, detail: steps.append(done))
    assert_same(options.submit(tmp_path, reporter, 1), quiet)
    assert steps[0] == 13

    again = tmp_path / "again"
    with pytest.raises(KeyboardInterrupt):
        options.submit(again, AtStep(12, stop), 2)
    (again / "mine" / TUNING_STATE_NAME).write_bytes(stored[:-100])
    reporter = AtStep()
    assert_same(options.submit(again, reporter, 2), quiet)
    assert any("is damaged" in note for note in reporter.notes)


def test_prompts_that_are_tuned_side_by_side_are_those_of_runs_of_their_own(
    tmp_path: Path, options: Options, quiet: skilljobs.Run
) -> None:
    reporter = AtStep()
    both = options.submit(tmp_path / "both", reporter, 2, prompts=2)
    assert sum("2 prompts side by side" in note for note in reporter.notes) == 1
    first, second = both.prompts()
    assert torch.equal(prompt_of(first), prompt_of(quiet))
    alone = options.submit(tmp_path / "alone", Notes(), 1, prompt_seed=1)
    assert torch.equal(prompt_of(second), prompt_of(alone))
    assert second.tuning().collect().equals(alone.tuning().collect())


def test_prompts_that_are_stopped_in_the_middle_go_on(tmp_path: Path, options: Options, quiet: skilljobs.Run) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        options.submit(tmp_path, AtStep(28, stop), 2, prompts=2)
    states = sorted(tmp_path.rglob(TUNING_STATE_NAME.rpartition("/")[2]))
    assert len(states) == 2
    both = options.submit(tmp_path, Notes(), 2, prompts=2)
    assert torch.equal(prompt_of(both.prompts()[0]), prompt_of(quiet))


def test_prompts_are_not_tuned_on_examples_that_are_damaged(
    tmp_path: Path, options: Options, quiet: skilljobs.Run
) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        options.submit(tmp_path, AtStep(0, stop), 2, prompts=2)
    for path in tmp_path.rglob(TUNING_EXAMPLES_NAME.rpartition("/")[2]):
        data = bytearray(path.read_bytes())
        data[len(data) // 3] ^= 1
        path.write_bytes(data)
    reporter = AtStep()
    both = options.submit(tmp_path, reporter, 2, prompts=2)
    assert any("the stage prepare runs again" in note for note in reporter.notes)
    assert torch.equal(prompt_of(both.prompts()[0]), prompt_of(quiet))
