"""A job that is really stopped, by either signal, and resumed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.integration.machines import wait_for

SUBMIT = ["submit", "--task", "arithmetic", "--soft-prompt", "random", "--null", "1", "--run-id", "mine",
          "--shard-size", "50", "--no-report"]  # fmt: skip


def start(out: Path, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", "from skilljobs.cli.main import main; main()", *SUBMIT, *more, "--out", str(out)]
    environment = os.environ | {"RAY_AUTH_MODE": "disabled"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
@pytest.mark.ray
def test_a_stopped_job_keeps_its_shards_and_resumes(tmp_path: Path) -> None:
    shards = tmp_path / "mine" / "shards"

    def committed() -> dict[str, int]:
        return {path.name: path.stat().st_mtime_ns for path in shards.glob("scores-*.parquet")}

    kept: dict[str, int] = {}
    for number, code in ((signal.SIGTERM, 143), (signal.SIGINT, 130)):
        job = start(tmp_path, "--limit", "1200")
        wait_for(lambda: len(committed()) > len(kept) or job.poll() is not None)  # noqa: B023
        job.send_signal(number)
        _, err = job.communicate(timeout=60)
        assert job.returncode == code, err
        assert "run the same command again to resume" in err
        assert "Traceback" not in err
        now = committed()
        assert kept.items() <= now.items()
        kept = now
    again = start(tmp_path, "--limit", "1200")
    out, err = again.communicate(timeout=240)
    assert again.returncode == 0, err
    assert out.splitlines()[-1] == str(tmp_path / "mine")
    assert f"collect: {len(kept)} of" in err
    assert kept.items() <= committed().items()
    third = start(tmp_path, "--limit", "1200")
    _, err = third.communicate(timeout=60)
    assert (third.returncode, "is complete already" in err) == (0, True)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_while_ray_starts(tmp_path: Path, number: signal.Signals, code: int) -> None:
    """Ray has a handler of its own while it starts."""
    job = start(tmp_path)
    wait_for(lambda: (tmp_path / "mine" / "progress.json").is_file())
    job.send_signal(number)
    _, err = job.communicate(timeout=60)
    assert job.returncode == code, err
    assert "Traceback" not in err
    assert '"state": "stopped"' in (tmp_path / "mine" / "progress.json").read_text()


@pytest.mark.slow
@pytest.mark.ray
def test_sigterm_while_the_report_is_written(tmp_path: Path) -> None:
    """Ray, which has ended by then, took the handler of SIGTERM along."""
    progress = tmp_path / "mine" / "progress.json"
    job = start(tmp_path, "--report", "--limit", "60")
    wait_for(lambda: (progress.is_file() and '"stage": "report"' in progress.read_text()) or job.poll() is not None)
    job.send_signal(signal.SIGTERM)
    _, err = job.communicate(timeout=60)
    assert job.returncode == 143, err
    assert '"state": "running"' not in progress.read_text()


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_job_whose_scorer_hangs_stops_at_once(tmp_path: Path, number: signal.Signals, code: int) -> None:
    """The scorer is stopped, and the job waits for its answer for half an hour."""
    job = start(tmp_path, "--replicas", "1", "--shard-timeout", "1800")
    wait_for(lambda: list(tmp_path.glob("mine/shards/scores-*.parquet")) or job.poll() is not None)
    scorer = next(
        process
        for process in psutil.Process(job.pid).children(recursive=True)
        if "ray::ScorerActor" in " ".join(process.cmdline())
    )
    scorer.send_signal(signal.SIGSTOP)
    time.sleep(3)  # into the wait: nothing tells when it begins
    job.send_signal(number)
    _, err = job.communicate(timeout=60)
    assert job.returncode == code, err
    assert "Traceback" not in err
    wait_for(lambda: not scorer.is_running(), seconds=30)
