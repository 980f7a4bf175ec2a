"""How a run is doing, from what its job wrote."""

import threading
import time
from pathlib import Path
from typing import Literal

import pytest

import skilljobs
from skilljobs.analysis import run_view
from skilljobs.errors import InputError, JobFailed
from skilljobs.progress.job_progress import JobProgress
from skilljobs.store.record import RunRecord, StageRecord
from skilljobs.store.run import PROGRESS_NAME, RunFiles
from tests.store.test_record import record


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_view, "POLL_SECONDS", 0.02)


def complete() -> RunRecord:
    stages = {name: StageRecord(state="done", seconds=1.0) for name in record().planned_stages}
    return record().model_copy(update={"stages": stages})


def say(folder: Path, state: Literal["running", "done", "failed"], detail: str = "") -> None:
    progress = JobProgress(state=state, host="here", pid=7, stage="collect", detail=detail)
    (folder / PROGRESS_NAME).write_bytes(progress.written_now().to_bytes())


def test_a_run_says_how_it_is_doing(tmp_path: Path) -> None:
    RunFiles(str(tmp_path)).save(record())
    run = skilljobs.open_run(str(tmp_path))
    assert run.status == "not begun"
    say(tmp_path, "running")
    assert run.status.startswith("running on here (process 7): collect")
    RunFiles(str(tmp_path)).save(complete())
    assert run.status == "complete"
    assert run.wait() is run


def test_waiting_ends_when_the_run_is_complete(tmp_path: Path) -> None:
    RunFiles(str(tmp_path)).save(record())
    say(tmp_path, "running")

    def finish() -> None:
        time.sleep(0.2)
        RunFiles(str(tmp_path)).save(complete())
        say(tmp_path, "done")

    worker = threading.Thread(target=finish)
    worker.start()
    assert skilljobs.open_run(str(tmp_path)).wait(timeout=20).record.is_complete
    worker.join()


def test_waiting_for_what_never_comes_ends_too(tmp_path: Path) -> None:
    RunFiles(str(tmp_path)).save(record())
    run = skilljobs.open_run(str(tmp_path))
    with pytest.raises(InputError, match="no job has begun"):
        run.wait()
    say(tmp_path, "failed", "shard 3 failed")
    with pytest.raises(JobFailed, match=r"is not complete: failed on here \(process 7\): shard 3 failed"):
        run.wait()
    say(tmp_path, "done")
    with pytest.raises(JobFailed, match="is not complete: done on here"):
        run.wait()
    say(tmp_path, "running")
    with pytest.raises(TimeoutError, match=r"not complete after 0\.1 s: running on here"):
        run.wait(timeout=0.1)


def test_a_notebook_shows_what_a_run_is_and_no_markup_of_it(tmp_path: Path) -> None:
    RunFiles(str(tmp_path)).save(record().model_copy(update={"run_id": "<script>alert(1)</script>"}))
    page = skilljobs.open_run(str(tmp_path))._repr_html_()
    assert "&lt;script&gt;" in page
    assert "<script>" not in page
    assert "not begun" in page


TABLES = (
    "examples",
    "scores",
    "sums",
    "tuning",
    "correlations",
    "strongest",
    "best",
    "activations",
    "vocabulary",
    "metrics",
)


@pytest.mark.parametrize("prompts", [1, 2])
@pytest.mark.parametrize("table", TABLES)
def test_a_table_that_is_not_made_yet_says_whether_a_job_works_on_it(tmp_path: Path, table: str, prompts: int) -> None:
    begun = record()
    RunFiles(str(tmp_path)).save(begun.model_copy(update={"spec": begun.spec | {"prompts": prompts}}))
    run = skilljobs.open_run(tmp_path)
    with pytest.raises(InputError, match=r"has no [\w ]+ yet: no job works on it; submit it again to resume it$"):
        getattr(run, table)()
    say(tmp_path, "running")
    with pytest.raises(InputError, match=r"has no [\w ]+ yet: its job is running on here \(process 7\): collect"):
        getattr(run, table)()
    say(tmp_path, "failed", "shard 3 failed")
    with pytest.raises(
        InputError, match=r"yet: no job works on it \(the last one: failed on here \(process 7\): shard 3"
    ):
        getattr(run, table)()


def test_a_run_without_a_record_says_whether_a_job_works_on_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no run at"):
        skilljobs.Run(str(tmp_path)).scores()
    say(tmp_path, "running")
    with pytest.raises(InputError, match="has no record yet: its job is running on here"):
        skilljobs.Run(str(tmp_path)).scores()


def test_a_table_that_the_run_does_not_make_is_named(tmp_path: Path) -> None:
    stages = {name: StageRecord(seconds=1.0) for name in ("tune", "reduce")}
    RunFiles(str(tmp_path)).save(record().model_copy(update={"stages": stages}))
    run = skilljobs.open_run(tmp_path)
    for table, reason in (("tuning", "was not tuned"), ("best", "--tokens each"), ("ablation", "`skilljobs ablate`")):
        with pytest.raises(InputError, match=reason):
            getattr(run, table)()
