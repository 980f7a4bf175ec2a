"""What can be concluded about a run's job from what it wrote into the run's directory, and how to ask it to stop."""

from dataclasses import dataclass

from skilljobs.progress.job_progress import JobProgress, read_progress
from skilljobs.store.files import Folder
from skilljobs.store.run import LOG_NAME, PROGRESS_NAME, STOP_NAME

SILENT_SECONDS = 60.0
"""A job writes its progress at least every 20 s; one that has been silent for longer than this has died."""
UNREADABLE = f"how its job is doing is not known: {PROGRESS_NAME} is damaged"


@dataclass(frozen=True)
class JobState:
    """The state of the job that is working, or worked, on a run."""

    state: str
    """running, done, stopped or failed; silent if it should be running but has not written for a while; unknown if what
    it wrote cannot be read."""
    text: str

    @property
    def is_running(self) -> bool:
        return self.state == "running"


def job_state(folder: Folder) -> JobState | None:
    """The state of the last job of the run in `folder`; None if no job has written anything."""
    progress = read_progress(folder)
    if progress is None:
        return JobState("unknown", UNREADABLE) if folder.exists(PROGRESS_NAME) else None
    seconds = progress.age
    state = "silent" if progress.state == "running" and seconds > SILENT_SECONDS else progress.state
    return JobState(state, _text(progress, state, seconds))


def log_lines(folder: Folder, after: int = 0) -> tuple[list[str], int]:
    """The lines that the run's jobs have logged after the first `after`, and how many they logged in all.

    The last 2,000 are kept.
    """
    if not folder.exists(LOG_NAME):
        return [], 0
    progress = read_progress(folder)
    dropped = progress.lines_dropped if progress else 0
    lines = folder.read(LOG_NAME).decode(errors="replace").splitlines()
    return lines[max(0, after - dropped) :], dropped + len(lines)


def request_stop(folder: Folder) -> None:
    """Ask the job that is working on the run to stop. It removes the request when it has seen it."""
    folder.write(STOP_NAME, b"")


def is_stop_requested(folder: Folder) -> bool:
    """Whether there is a request to stop that no job has seen yet."""
    return folder.exists(STOP_NAME)


def withdraw_stop(folder: Folder) -> None:
    """Remove a request to stop that no job has seen."""
    folder.delete(STOP_NAME)


def _text(progress: JobProgress, state: str, seconds: float) -> str:
    where = f"{progress.host} (process {progress.pid})"
    total = f" of {progress.total}" if progress.total else ""
    stage = f"{progress.stage or 'starting'}" + (f" {progress.done}{total}" if progress.done else "")
    detail = f", {progress.detail}" if progress.detail else ""
    match state:
        case "running":
            return f"running on {where}: {stage}{detail} ({seconds:.0f} s ago)"
        case "silent":
            return f"nothing heard from {where} for {seconds / 60:.0f} min, it was at {stage}: the same command resumes"
        case "done":
            return f"done on {where}"
    return f"{state} on {where}: {progress.detail}"
