"""Find the skill neurons of a frozen language model, at any scale."""

from typing import TYPE_CHECKING, Any

from skilljobs.errors import InputError, JobFailed
from skilljobs.spec import JobSpec
from skilljobs.tasks.base import Example, Task, TaskOptions

if TYPE_CHECKING:
    from skilljobs.api import Run, open_run, submit

__all__ = [
    "Example",
    "InputError",
    "JobFailed",
    "JobSpec",
    "Run",
    "Task",
    "TaskOptions",
    "open_run",
    "submit",
]


def __getattr__(name: str) -> Any:
    if name in ("Run", "open_run", "submit"):
        from skilljobs import api

        return getattr(api, name)
    raise AttributeError(f"module 'skilljobs' has no attribute {name!r}")
