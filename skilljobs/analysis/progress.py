"""How a job goes, as it tells itself in its run's directory."""

from dataclasses import dataclass
from typing import Any

from skilljobs.store.reader import RunReader
from skilljobs.store.run import LOG_NAME, STOP_NAME, seconds_since

SILENT_SECONDS = 60.0
"""A job writes its progress every 20 s at least: what has been silent for longer has died."""


@dataclass(frozen=True)
class Progress:
    """What was last heard of the job that works, or worked, on a run."""

    state: str
    """running, done, stopped or failed; silent where it should run and has not been heard of."""
    text: str
    seconds_ago: float

    @property
    def lives(self) -> bool:
        return self.state == "running"


def progress_of(run: RunReader) -> Progress | None:
    """None where no job has told anything."""
    told = run.progress()
    if told is None:
        return None
    ago = seconds_since(told["at"])
    state = "silent" if told["state"] == "running" and ago > SILENT_SECONDS else told["state"]
    return Progress(state, _text(told, state, ago), ago)


def log_of(run: RunReader, after: int = 0) -> tuple[list[str], int]:
    """The lines that the run's jobs have told behind the first `after`, and how many they told in all.

    The last 2,000 are kept.
    """
    if not run.folder.exists(LOG_NAME):
        return [], 0
    dropped = (run.progress() or {}).get("lines_dropped", 0)
    lines = run.folder.read(LOG_NAME).decode().splitlines()
    return lines[max(0, after - dropped) :], dropped + len(lines)


def ask_to_stop(run: RunReader) -> None:
    """Leave word for the job that works on the run. It takes it away when it has read it."""
    run.folder.write(STOP_NAME, b"")


def asked_to_stop(run: RunReader) -> bool:
    """Whether that word is still there."""
    return run.folder.exists(STOP_NAME)


def take_back(run: RunReader) -> None:
    """Take the word away that nobody has read."""
    run.folder.delete(STOP_NAME)


def _text(told: dict[str, Any], state: str, ago: float) -> str:
    where = f"{told['host']} (process {told['pid']})"
    of = f" of {told['total']}" if told["total"] else ""
    stage = f"{told['stage'] or 'starting'}" + (f" {told['done']}{of}" if told["done"] else "")
    detail = f", {told['detail']}" if told["detail"] else ""
    match state:
        case "running":
            return f"running on {where}: {stage}{detail} ({ago:.0f} s ago)"
        case "silent":
            return f"nothing heard of {where} for {ago / 60:.0f} min, it was at {stage}: the same command goes on"
        case "done":
            return f"done on {where}"
    return f"{state} on {where}: {told['detail']}"
