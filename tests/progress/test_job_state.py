"""What a job wrote about itself is believed only if it is of the right types."""

import json
from pathlib import Path

import pytest

from skilljobs.progress.job_progress import JobProgress, read_progress
from skilljobs.progress.job_state import job_state, log_lines
from skilljobs.store.files import Folder
from skilljobs.store.run import LOG_NAME, PROGRESS_NAME

GOOD = json.loads(JobProgress(state="done", host="here", pid=7).written_now().to_bytes())


def test_what_was_written_is_read(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path))
    assert job_state(folder) is None
    folder.write(PROGRESS_NAME, json.dumps(GOOD).encode())
    state = job_state(folder)
    assert state is not None
    assert (state.state, state.text) == ("done", "done on here (process 7)")


@pytest.mark.parametrize(
    "stored",
    [b"", b"{", b"[]", b"5", b"null", b"\xff", b"[" * 100_000]
    + [
        json.dumps(GOOD | changed).encode()
        for changed in (
            {"state": 5},
            {"state": "asleep"},
            {"pid": "7"},
            {"done": "three"},
            {"total": [1]},
            {"lines_dropped": "2"},
            {"at": 5},
            {"at": "yesterday"},
            {"at": "2026-01-01T00:00:00"},
        )
    ],
)
def test_damaged_progress_is_said_to_be_damaged(tmp_path: Path, stored: bytes) -> None:
    folder = Folder(str(tmp_path))
    folder.write(PROGRESS_NAME, stored)
    folder.write(LOG_NAME, b"a line\n")
    assert read_progress(folder) is None
    state = job_state(folder)
    assert state is not None
    assert (state.is_running, state.text) == (False, "how its job is doing is not known: progress.json is damaged")
    assert log_lines(folder) == (["a line"], 1)
