"""A job that is really stopped, by either signal, and resumed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.machines import wait_for

SUBMIT = ["submit", "--task", "arithmetic", "--soft-prompt", "random", "--null", "1", "--run-id", "mine",
          "--shard-size", "50", "--no-report"]  # fmt: skip


def start(out: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", "from skilljobs.cli.main import main; main()", *SUBMIT, "--out", str(out)]
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
        job = start(tmp_path)
        wait_for(lambda: len(committed()) > len(kept) or job.poll() is not None)  # noqa: B023
        job.send_signal(number)
        _, err = job.communicate(timeout=60)
        assert job.returncode == code, err
        assert "run the same command again to resume" in err
        assert "Traceback" not in err
        now = committed()
        assert kept.items() <= now.items()
        kept = now
    again = start(tmp_path)
    out, err = again.communicate(timeout=240)
    assert again.returncode == 0, err
    assert out.splitlines()[-1] == str(tmp_path / "mine")
    assert f"collect: {len(kept)} of" in err
    assert kept.items() <= committed().items()
    third = start(tmp_path)
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
