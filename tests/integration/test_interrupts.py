"""A job that is really stopped, and goes on."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SUBMIT = [
    "submit",
    "--task",
    "arithmetic",
    "--soft-prompt",
    "random",
    "--null",
    "1",
    "--run-id",
    "mine",
    "--shard-size",
    "50",
]


def start(out: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", "from skilljobs.cli.main import main; main()", *SUBMIT, "--out", str(out)]
    environment = os.environ | {"RAY_AUTH_MODE": "disabled"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_stopped_job_keeps_its_shards_and_goes_on(tmp_path: Path, number: signal.Signals, code: int) -> None:
    shards = tmp_path / "mine" / "shards"
    job = start(tmp_path)
    deadline = time.monotonic() + 120
    while not list(shards.glob("scores-*.parquet")):
        assert job.poll() is None, job.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.2)
    job.send_signal(number)
    _, err = job.communicate(timeout=60)
    assert job.returncode == code
    assert "run the same command again to resume" in err
    assert "Traceback" not in err
    kept = {path.name: path.stat().st_mtime_ns for path in shards.glob("scores-*.parquet")}
    assert kept
    again = start(tmp_path)
    out, err = again.communicate(timeout=240)
    assert again.returncode == 0, err
    assert out.splitlines()[-1] == str(tmp_path / "mine")
    assert f"collect: {len(kept)} of" in err
    assert all((shards / name).stat().st_mtime_ns == written for name, written in kept.items())
    third = start(tmp_path)
    _, err = third.communicate(timeout=60)
    assert (third.returncode, "is complete already" in err) == (0, True)
