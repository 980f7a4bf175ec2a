"""A local Ray whose raylet is killed: the job is finished by what still runs, or ends with a reason and is resumed."""

import subprocess
import time
from pathlib import Path

import psutil
import pytest

from tests.integration.machines import COMMAND
from tests.tables import random_rows, write_jsonl

pytestmark = [pytest.mark.slow, pytest.mark.ray]


def test_a_job_without_a_raylet_is_finished_or_ends_and_resumes(tmp_path: Path, small_llama: Path) -> None:
    data = write_jsonl(tmp_path / "table.jsonl", random_rows(1500))
    command = [
        *COMMAND, "submit", "--data", str(data), "--model", str(small_llama), "--soft-prompt", "random",
        "--prompt-length", "2", "--null", "1", "--shard-size", "2", "--no-report", "--out", str(tmp_path),
        "--run-id", "run",
    ]  # fmt: skip
    job = psutil.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not (tmp_path / "run/shards/scores-00003.parquet").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    (raylet,) = [child for child in job.children(recursive=True) if child.name() == "raylet"]
    raylet.kill()
    _, errors = job.communicate(timeout=150)
    assert job.returncode in (0, 1), errors
    if job.returncode:  # scorers that have loaded may do all that is left without it
        said = errors.strip().splitlines()[-1]
        assert said.startswith("skilljobs: "), errors
        assert "the same command resumes" in said
    committed = {path: path.stat().st_mtime_ns for path in (tmp_path / "run/shards").glob("scores-*.parquet")}
    assert len(committed) >= 4
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    assert all(path.stat().st_mtime_ns == written for path, written in committed.items()), "scored again"
