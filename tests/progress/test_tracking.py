"""Following a job in an experiment tracker."""

import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import skilljobs
from skilljobs.analysis.conclusions import count_above
from skilljobs.analysis.null_thresholds import NoThreshold, NullThresholds
from skilljobs.cli.main import main
from skilljobs.errors import InputError
from skilljobs.progress import trackers
from skilljobs.progress.reporter import SilentReporter
from skilljobs.progress.tracking import tracked
from tests.tables import random_rows, write_jsonl


class Recorder:
    """A tracker that keeps what it is given, and fails when it is told to."""

    begun: list["Recorder"]
    fails_at: str | None

    def __init__(self, name: str, config: Mapping[str, Any]) -> None:
        print("a banner on standard output")
        if self.fails_at == "begin":
            raise RuntimeError("no login\nmore")
        self.name, self.config = name, config
        self.logged: list[tuple[dict[str, float], int | None]] = []
        self.ended: list[bool] = []
        self.begun.append(self)

    def log(self, values: Mapping[str, float], step: int | None) -> None:
        if self.fails_at == "log":
            raise ConnectionError("the server is gone")
        self.logged.append((dict(values), step))

    def finish(self, failed: bool) -> None:
        self.ended.append(failed)


class Notes(SilentReporter):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def recorders(monkeypatch: pytest.MonkeyPatch) -> type[Recorder]:
    kind = type("FreshRecorder", (Recorder,), {"begun": [], "fails_at": None})
    monkeypatch.setitem(trackers.TRACKERS, "wandb", kind)
    monkeypatch.setattr(trackers, "find_spec", lambda _: object())
    return kind


@pytest.mark.ray
def test_a_job_is_followed_and_no_number_changes(
    ray_here: object, tmp_path: Path, small_llama: Path, recorders: type[Recorder], capsys: pytest.CaptureFixture[str]
) -> None:
    options: dict[str, Any] = {
        "data": str(write_jsonl(tmp_path / "table.jsonl", random_rows(120))), "model": str(small_llama), "by": "kind",
        "prompt_length": 2, "tune_steps": 3, "null": 3, "out": str(tmp_path), "run_id": "mine", "report": False,
        "reporter": SilentReporter(),
    }  # fmt: skip
    run = skilljobs.submit(track="wandb", **options)
    (recorder,) = recorders.begun
    assert (recorder.name, recorder.ended) == ("mine", [False])
    assert recorder.config["tune_steps"] == 3
    tuned = [(step, *pair) for values, step in recorder.logged if step is not None for pair in values.items()]
    curve = [
        (row["step"], f"tune/{row['split']}_{name}", row[name])
        for row in run.tuning().collect().iter_rows(named=True)
        for name in ("loss", "accuracy")
        if row[name] is not None
    ]
    assert set(tuned) == set(curve)
    assert len(curve) >= 4
    whole = {name: value for values, step in recorder.logged if step is None for name, value in values.items()}
    assert {f"seconds/{stage}" for stage in run.record.stages} <= whole.keys()
    assert whole["accuracy/test"] == run.record.accuracy.test
    for population in ("all", "within:kind"):
        threshold = NullThresholds(run).of("words", population)
        assert not isinstance(threshold, NoThreshold)
        assert whole[f"above_null/{population}/words"] == count_above(run, "words", population, threshold).above
    assert "banner" not in capsys.readouterr().out
    assert "track" not in Path(run.uri, "run.json").read_text()
    skilljobs.submit(track="wandb", **options)
    assert len(recorders.begun) == 1, "it is complete already"


def test_a_tracker_that_fails_is_named_and_the_job_goes_on(recorders: type[Recorder]) -> None:
    shown = Notes()
    with tracked("wandb", "mine", {}, shown) as reporter:
        reporter.begin("tune", 3)
        recorders.fails_at = "log"
        reporter.measured({"tune/loss": 1.0}, 1)
        reporter.end("done", 1.0)
        reporter.begin("collect", 3)
        reporter.conclude(lambda: pytest.fail("there is no tracker left to tell"))
    assert shown.notes == ["the tracker wandb failed (ConnectionError: the server is gone): the job goes on without it"]
    assert len(recorders.begun) == 1
    recorders.fails_at = None
    with tracked("wandb", "mine", {}, shown) as reporter:
        reporter.begin("tune", 3)
        reporter.measured({"nothing": None, "too large": float("inf"), "known": 1}, 2)
    assert recorders.begun[1].logged == [({"known": 1.0}, 2)]
    with suppress(KeyboardInterrupt), tracked("wandb", "mine", {}, shown) as reporter:
        reporter.begin("tune", 3)
        raise KeyboardInterrupt
    assert recorders.begun[2].ended == [True]
    recorders.fails_at = "begin"
    with (
        pytest.raises(InputError, match=r"--track wandb: it could not begin: RuntimeError: no login$"),
        tracked("wandb", "mine", {}, shown) as reporter,
    ):
        reporter.begin("tune", 3)


def test_a_tracker_that_is_not_there_is_refused_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trackers, "find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"needs the package mlflow: pip install 'skilljobs\[mlflow\]'"):
        skilljobs.submit(task="arithmetic", out=str(tmp_path), track="mlflow")
    with pytest.raises(InputError, match=r"no such tracker \(did you mean 'wandb'\?\)"):
        skilljobs.submit(task="arithmetic", out=str(tmp_path), track="wand")
    assert not list(tmp_path.iterdir())
    told: list[Mapping[str, object]] = []
    monkeypatch.setattr("skilljobs.cluster.remote_job.run_on_cluster", lambda *given: told.append(given[4]))
    skilljobs.submit(task="arithmetic", out=str(tmp_path), track="mlflow", address="http://127.0.0.1:1")
    assert told[0]["--track"] == "mlflow", "the machine that drives the job tracks it"


def test_every_reporter_that_passes_on_passes_on_what_is_measured() -> None:
    """On a cluster, one stands between the journal and the tracker."""
    package = Path(skilljobs.__file__).parent
    passing = [path for path in package.rglob("*.py") if "self._passed_to.note(" in path.read_text(encoding="utf-8")]
    assert len(passing) >= 3
    for path in passing:
        assert "measured(self._passed_to, values, step)" in path.read_text(encoding="utf-8"), path


def test_several_jobs_are_not_tracked(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["submit", "--task", "arithmetic", "--task", "hans", "--model", "tiny", "--track", "wandb"])
    assert ended.value.code == 2
    assert "--track wandb follows one job, and these are several" in capsys.readouterr().err


def test_names_that_mlflow_does_not_take_stay_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    logged: dict[str, float] = {}
    client = SimpleNamespace(
        get_experiment_by_name=lambda _: None,
        create_experiment=lambda _: "1",
        create_run=lambda *_, **__: SimpleNamespace(info=SimpleNamespace(run_id="r")),
        log_param=lambda *_: None,
        log_metric=lambda _, name, value, step: logged.update({name: value}),
        set_terminated=lambda *_: None,
    )
    tracking = ModuleType("mlflow.tracking")
    tracking.MlflowClient = lambda: client  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mlflow", ModuleType("mlflow"))
    monkeypatch.setitem(sys.modules, "mlflow.tracking", tracking)
    tracker = trackers.begin("mlflow", "mine", {"a": 1})
    for _ in range(2):
        tracker.log({"all/kind=a": 1.0, "all/kind_a": 2.0, "within:kind": 3.0}, None)
    assert logged == {"all/kind_a": 1.0, "all/kind_a 2": 2.0, "within_kind": 3.0}


def test_wandb_keeps_steps_that_fall_back(tmp_path: Path) -> None:
    """As those of a second soft prompt do. The library itself, in a process of its own, without a network."""
    pytest.importorskip("wandb")
    code = (
        "from skilljobs.progress.trackers import begin\n"
        "tracker = begin('wandb', 'mine', {'seed': 0})\n"
        "for group, step in (('prompt-0/tune', 7), ('prompt-1/tune', 2)):\n"
        "    tracker.log({f'{group}/validation_loss': 0.5}, step)\n"
        "tracker.log({'accuracy/test': 0.9}, None)\n"
        "print(dict(tracker._run.summary))\n"
        "tracker.finish(failed=False)\n"
    )
    environment = {"WANDB_MODE": "offline", "WANDB_DIR": str(tmp_path), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    for expected in ("'prompt-0/tune/step': 7", "'prompt-1/tune/step': 2", "'accuracy/test': 0.9"):
        assert expected in done.stdout
    (file,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    assert b"prompt-1/tune/validation_loss" in file.read_bytes()
