"""The progress of a job, as the job records it in its run's directory."""

from dataclasses import dataclass
from typing import Any

from skilljobs.store.reader import RunReader
from skilljobs.store.run import LOG_NAME, STOP_NAME, seconds_since

SILENT_SECONDS = 60.0
"""A job writes its progress at least every 20 s, so one that has been silent for longer than this has died."""


@dataclass(frozen=True)
class Progress:
    """The last recorded progress of the job that is working, or has worked, on a run."""

    state: str
    """One of running, done, stopped or failed, or silent if it should be running but has not written its progress."""
    text: str
    """A sentence for the user."""
    seconds_ago: float
    """Seconds since the progress was written."""

    @property
    def is_running(self) -> bool:
        return self.state == "running"


def progress_of(run: RunReader) -> Progress | None:
    """Return the progress of a run's job, or None if no job has written any."""
    entry = run.progress()
    if entry is None:
        return None
    ago = seconds_since(entry["at"])
    state = "silent" if entry["state"] == "running" and ago > SILENT_SECONDS else entry["state"]
    return Progress(state, _text(entry, state, ago), ago)


def log_of(run: RunReader, after: int = 0) -> tuple[list[str], int]:
    """Return the lines that the run's jobs have logged after the first `after`, and how many they have logged in all.

    Only the last 2,000 lines are kept.
    """
    if not run.folder.exists(LOG_NAME):
        return [], 0
    dropped = (run.progress() or {}).get("lines_dropped", 0)
    lines = run.folder.read(LOG_NAME).decode().splitlines()
    return lines[max(0, after - dropped) :], dropped + len(lines)


def ask_to_stop(run: RunReader) -> None:
    """Write a stop request for the job that is working on the run. The job deletes it after reading it."""
    run.folder.write(STOP_NAME, b"")


def asked_to_stop(run: RunReader) -> bool:
    """Return whether there is a stop request that the job has not read yet."""
    return run.folder.exists(STOP_NAME)


def withdraw_stop_request(run: RunReader) -> None:
    """Delete a stop request that no job has read."""
    run.folder.delete(STOP_NAME)


def _text(entry: dict[str, Any], state: str, ago: float) -> str:
    where = f"{entry['host']} (process {entry['pid']})"
    total = f" of {entry['total']}" if entry["total"] else ""
    stage = f"{entry['stage'] or 'starting'}" + (f" {entry['done']}{total}" if entry["done"] else "")
    detail = f", {entry['detail']}" if entry["detail"] else ""
    match state:
        case "running":
            return f"running on {where}: {stage}{detail} (updated {ago:.0f} s ago)"
        case "silent":
            return (
                f"no update from {where} for {ago / 60:.0f} min, it was last at {stage}:"
                " run the same command again to resume"
            )
        case "done":
            return f"done on {where}"
    return f"{state} on {where}: {entry['detail']}"
