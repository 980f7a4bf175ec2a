"""Scorers that stay for the next job: same numbers, and no job gets what another left behind."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

import skilljobs
from skilljobs.checkpoints.source import find_model
from skilljobs.cluster import shared_scorers
from skilljobs.cluster.shared_scorers import _Kind, _SharedScorers, scorers_shared
from skilljobs.errors import InputError
from skilljobs.plan.capacity import Replicas
from skilljobs.plan.work import ModelSetup
from skilljobs.progress.reporter import SilentReporter
from skilljobs.selection import Selection
from skilljobs.store.record import Numerics
from tests.integration.machines import wait_for
from tests.tables import random_rows, write_jsonl

pytestmark = pytest.mark.ray


def processes_of_scorers() -> set[int]:
    found = set()
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if "ray::ScorerActor" in " ".join(process.cmdline()):
                found.add(process.pid)
    return found


def test_a_next_job_has_the_scorers_and_its_own_prompt(
    ray_here: Callable[[], None], tmp_path: Path, small_llama: Path
) -> None:
    ray_here()
    data = write_jsonl(tmp_path / "table.jsonl", random_rows(60))
    common = {"data": str(data), "model": str(small_llama), "prompt_length": 2, "null": 1, "report": False}

    def submit(folder: str, seed: int) -> skilljobs.Run:
        return skilljobs.submit(
            out=str(tmp_path / folder),
            soft_prompt="random",
            prompt_seed=seed,
            reporter=SilentReporter(),
            run_id="mine",
            **common,  # type: ignore[arg-type]
        )

    first = submit("shared", 1)
    scorers = processes_of_scorers()
    assert scorers
    second = submit("shared-2", 2)
    assert processes_of_scorers() == scorers, "the model is still loaded"
    ray_here()
    wait_for(lambda: not processes_of_scorers())
    alone = submit("alone", 2)
    assert second.correlations().collect().equals(alone.correlations().collect())
    assert not second.correlations().collect().equals(first.correlations().collect())


def test_the_same_run_made_anew_is_read_anew(ray_here: Callable[[], None], tmp_path: Path, small_llama: Path) -> None:
    """Its directory has the same name, and other contents."""
    runs = []
    for seed in (1, 2):
        data = write_jsonl(tmp_path / "table.jsonl", random_rows(60, seed=seed))
        run = skilljobs.submit(
            data=str(data), model=str(small_llama), soft_prompt="random", prompt_seed=seed, prompt_length=2, null=1,
            out=str(tmp_path), run_id="mine", report=False, reporter=SilentReporter(),
        )  # fmt: skip
        runs.append((run.correlations().collect(), run.soft_prompt()))
        (tmp_path / "mine").rename(tmp_path / f"mine-{seed}")
    assert not runs[0][0].equals(runs[1][0])
    assert not runs[0][1].equal(runs[1][1])


class Group:
    """Scorers that do nothing."""

    model = None

    def __init__(self, count: int) -> None:
        self.members, self.closed = ["scorer"] * count, False

    def agrees_with(self, must_agree: object) -> bool:
        return True

    def add(self) -> None:
        self.members.append("scorer")

    def close(self) -> None:
        self.closed = True


def test_a_job_of_more_shards_adds_scorers_and_one_that_asks_for_a_number_has_it(small_llama: Path) -> None:
    numerics = Numerics(gpus=0, device="cpu", dtype="float32", threads=1, attention="sdpa", batch_tokens=64)
    setup = ModelSetup.of(find_model(str(small_llama)), numerics, Selection.of(None, None, None, "neurons"))

    def kind(count: int, wanted: int | None) -> _Kind:
        return _Kind(setup, Replicas(count, 1, 0, wanted=wanted))

    def taken(waiting: _Kind, asked: _Kind) -> int | None:
        shared, group = _SharedScorers(), Group(waiting.replicas.count)
        shared.keep(waiting, group)  # type: ignore[arg-type]
        found = shared.take(asked, {})
        assert group.closed == (found is None)
        if found is not None:
            assert found[0].replicas.count == len(found[1].members)
        return None if found is None else len(found[1].members)

    assert taken(kind(2, None), kind(8, None)) == 8
    assert taken(kind(8, None), kind(2, None)) == 8, "six have nothing to do"
    assert taken(kind(3, 4), kind(4, 4)) == 4
    assert taken(kind(8, None), kind(2, 2)) is None
    assert taken(kind(2, None), kind(2, 2)) == 2
    assert taken(kind(1, 1), kind(4, None)) is None


def test_a_session_within_another_leaves_its_scorers_to_that(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the outer one hold the processors: new ones would wait for them for ever."""
    monkeypatch.setattr(shared_scorers, "_shared", None)
    group = Group(1)
    with scorers_shared():
        with scorers_shared():
            shared = shared_scorers._shared
            assert shared is not None
            shared.keep(None, group)  # type: ignore[arg-type]
        assert not group.closed
    assert group.closed


def test_a_session_is_not_for_a_dashboard() -> None:
    with (
        pytest.raises(InputError, match="a session drives the cluster itself"),
        skilljobs.session("http://127.0.0.1:9"),
    ):
        pass
