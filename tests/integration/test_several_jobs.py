"""Several jobs in one command: each its own run with the numbers that it has alone, and none stops another."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import skilljobs
from skilljobs.errors import InputError, SomeJobsFailed
from skilljobs.pipeline import several_jobs
from skilljobs.pipeline.run_job import run_job as run_job_itself
from skilljobs.progress.reporter import SilentReporter
from tests.cli.test_runs import run_command
from tests.cluster.test_shared_scorers import processes_of_scorers
from tests.models import POISON, save_poisoned
from tests.tables import random_rows, write_jsonl

COMMON: dict[str, Any] = {"soft_prompt": "random", "prompt_length": 2, "null": 1, "report": False,
                          "reporter": SilentReporter()}  # fmt: skip


def table(path: Path, seed: int, count: int = 60) -> str:
    return str(write_jsonl(path, random_rows(count, seed=seed)))


@pytest.mark.ray
def test_jobs_of_one_model_load_it_once_and_have_the_numbers_that_they_have_alone(
    ray_here: Callable[[], None], tmp_path: Path, small_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray_here()
    model = str(small_llama)
    poisoned = save_poisoned(tmp_path / "poisoned")
    bad = [row | {"text": f"{POISON} {row['text']}"} for row in random_rows(60)]
    spoilt = {"data": str(write_jsonl(tmp_path / "spoilt.jsonl", bad)), "model": str(poisoned), "soft_prompt": None}
    jobs: list[dict[str, Any]] = [
        {"data": table(tmp_path / "small.jsonl", 1, 40), "model": model, "run_id": "small"},
        spoilt | {"run_id": "spoilt"},
        {"data": table(tmp_path / "more.jsonl", 2), "model": model, "run_id": "more", "shard_size": 8},
    ]
    seen: list[tuple[str, set[int]]] = []

    def on_done(run: skilljobs.Run) -> None:
        seen.append((run.record.run_id, processes_of_scorers()))

    out = str(tmp_path / "together")
    with pytest.raises(SomeJobsFailed) as failed:
        skilljobs.submit_many(jobs, out=out, on_done=on_done, **COMMON)
    lines = str(failed.value).splitlines()
    assert lines[0] == "1 of 3 jobs failed; the same command again resumes what is not finished"
    assert [line.partition(":")[::2] for line in lines[1::2]] == [("small", " done"), ("more", " done")]
    assert lines[2].startswith("spoilt: failed: ")
    assert [Path(uri).name for uri in failed.value.uris] == ["small", "spoilt", "more"]
    assert [name for name, _ in seen] == ["small", "more"], "the jobs of one model follow each other"
    small, more = (processes for _, processes in seen)
    assert small
    assert small <= more, "the model is still loaded"
    ray_here()
    alone = skilljobs.submit(out=str(tmp_path / "alone"), **(COMMON | jobs[2]))
    assert skilljobs.open_run(f"{out}/more").correlations().collect().equals(alone.correlations().collect())

    ran: list[str] = []
    run_job = run_job_itself

    def spy(spec: Any, uri: str, run_id: str, *rest: Any) -> Any:
        ran.append(run_id)
        return run_job(spec, uri, run_id, *rest)

    monkeypatch.setattr(several_jobs, "run_job", spy)
    before = Path(out, "more", "run.json").stat().st_mtime_ns
    with pytest.raises(SomeJobsFailed):
        skilljobs.submit_many(jobs, out=out, **COMMON)
    assert ran == ["small", "more", "spoilt"]
    assert Path(out, "more", "run.json").stat().st_mtime_ns == before, "what is finished is left alone"


def test_nothing_starts_if_one_job_cannot_be_done(
    tmp_path: Path, small_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(several_jobs, "run_job", None)
    common: dict[str, Any] = COMMON | {"model": str(small_llama), "out": str(tmp_path / "runs")}
    good = {"data": table(tmp_path / "good.jsonl", 1)}

    def refused(jobs: Any, match: str, **more: Any) -> None:
        with pytest.raises(InputError, match=match):
            skilljobs.submit_many(jobs, **(common | more))
        assert not (tmp_path / "runs").exists()

    refused([good, {"data": "nowhere.jsonl"}], r"^job 2 of 2 \(nowhere.jsonl\): .*nowhere.jsonl")
    refused([good, good | {"limit": "4"}], r"^job 2 of 2 .*--limit is '4'")
    refused([good, {"task": "arithmetik"}], r"^job 2 of 2: there is no task 'arithmetik'")
    refused([good, dict(good)], r"^job 1 of 2 .* and job 2 of 2 .* are the same job")
    refused([good, good | {"max_bad_rows": 0.5}], "are the same job")
    refused([good, {"task": "arithmetic", "label_words": ("a", "b")}], r"^job 2 of 2 \(arithmetic\): --label-words is")
    refused([good], "names one run", run_id="mine")
    refused([], "there are no jobs")
    refused([good, 5], "job 2 of 2 is 5")
    refused([good], "several jobs|driven by one process", address="http://127.0.0.1:9")


def test_an_interrupt_says_how_many_are_done(
    tmp_path: Path, small_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That committed shards are kept is shown where jobs are really stopped."""

    def run_job(spec: Any, uri: str, run_id: str, *rest: Any) -> Any:
        if run_id == "two":
            raise KeyboardInterrupt
        return type("Files", (), {"uri": uri})

    monkeypatch.setattr(several_jobs, "run_job", run_job)
    monkeypatch.setattr(several_jobs, "_share_scorers", lambda *_: None)
    jobs = [{"data": table(tmp_path / "a.jsonl", 1), "run_id": name} for name in ("one", "two", "three")]
    with pytest.raises(KeyboardInterrupt, match=r"1 of 3 jobs is done.*run the same command again to resume"):
        skilljobs.submit_many(jobs, out=str(tmp_path), model=str(small_llama), **COMMON)


def test_a_command_or_a_file_with_several_jobs(tmp_path: Path, capsys: Any, small_llama: Path) -> None:
    """`--dry-run` shows what each job would be."""
    out = str(tmp_path / "runs")

    def planned(*arguments: str) -> list[str]:
        code, lines, errors = run_command("submit", "--dry-run", "--out", out, *arguments, capsys=capsys)
        assert code == 0, errors
        assert len(lines) % 2 == 0
        assert all(": new; " in line for line in lines[::2])
        assert not Path(out).exists()
        return [line.strip().removeprefix("skilljobs submit ") for line in lines[1::2]]

    assert planned("--task", "arithmetic", "--task=hans", "--model", "tiny", "--limit", "40", "--label-words", "a", "b",
                   "--hide-choices") == [
        "--task arithmetic --model tiny --limit 40 --hide-choices",
        "--task hans --model tiny --limit 40 --label-words a b",
    ]  # fmt: skip
    assert planned("--task", "arithmetic", "--limit", "40") == ["--task arithmetic --model tiny --limit 40"]
    path = tmp_path / "jobs.toml"
    path.write_text(
        f'model = "tiny"\nlimit = 40\nseed = 3\n[[jobs]]\ntask = "arithmetic"\nlimit = 44\nrun-id = "mine"\n'
        f'[[jobs]]\ntask = "hans"\nmodel = "{small_llama}"\nlabel_words = ["x", "y"]\n'
    )
    assert planned("--config", str(path), "--seed", "5") == [
        "--task arithmetic --model tiny --limit 44 --seed 5",
        f"--task hans --model {small_llama} --limit 40 --seed 5 --label-words x y",
    ]
    assert planned("--config", str(path), "--limit", "48")[0] == "--task arithmetic --model tiny --limit 48 --seed 3"

    def refused(text: str, *arguments: str) -> str:
        path.write_text(text)
        code, lines, errors = run_command("submit", "--out", out, "--config", str(path), *arguments, capsys=capsys)
        assert (code, lines) == (2, [])
        return errors[-1]

    one = '[[jobs]]\ntask = "arithmetic"\n'
    assert "job 2: there is no option 'limitt'" in refused(f"{one}{one}limitt = 4")
    assert "job 2: replicas is common to all jobs" in refused(f"{one}{one}replicas = 2")
    assert "job 2: Invalid value for '--limit'" in refused(f"{one}{one}limit = 'four'")
    assert "jobs is 'two'; each job is a table, [[jobs]]" in refused("jobs = 'two'")
    assert "says the task of each" in refused(f"{one}seed = 1", "--task", "hans")
    assert "are the same job" in refused(f"{one}{one}")
    assert "--no-wait is for one job" in refused(f"{one}{one}seed = 1", "--no-wait")
