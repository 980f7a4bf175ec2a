"""What a job writes into its run's directory about itself, `progress.json`, as a type."""

import json
import os
import platform
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import TypeAdapter

from skilljobs.store.files import Folder
from skilljobs.store.run import PROGRESS_NAME, seconds_since


@dataclass(frozen=True)
class JobProgress:
    """How a job is doing, in its own words."""

    state: Literal["running", "done", "stopped", "failed"] = "running"
    host: str = ""
    pid: int = 0
    stage: str | None = None
    done: int | None = None
    """Steps of the stage that are done."""
    total: int | None = None
    """Steps of the stage, if their number is known."""
    detail: str = ""
    lines_dropped: int = 0
    """Lines of the log that are no longer kept."""
    at: str = ""
    """When this was written: ISO 8601, UTC, by the job's clock."""

    @classmethod
    def of_this_process(cls) -> "JobProgress":
        """A job that has just been started by this process."""
        return cls(host=platform.node(), pid=os.getpid())

    @property
    def age(self) -> float:
        """Seconds since this was written."""
        return seconds_since(self.at)

    def changed(self, **changes: Any) -> "JobProgress":
        """The same with some fields changed."""
        return replace(self, **changes)

    def written_now(self) -> "JobProgress":
        """The same, with the present moment as the time of writing."""
        return replace(self, at=timestamp())

    def to_bytes(self) -> bytes:
        """The text of `progress.json`."""
        return (json.dumps(asdict(self), indent=2) + "\n").encode()


def read_progress(folder: Folder) -> JobProgress | None:
    """What the last job of a run wrote about itself; None if there is nothing readable."""
    try:
        progress = _STORED.validate_json(folder.read(PROGRESS_NAME), strict=True)
        seconds_since(progress.at)
    except (OSError, ValueError, TypeError):
        return None
    return progress


_STORED = TypeAdapter(JobProgress)
"""Checks the types of what was written; pydantic's errors are ValueErrors."""


def timestamp() -> str:
    """The present moment: ISO 8601, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
