"""Find the skill neurons of a frozen language model, at any scale."""

from typing import TYPE_CHECKING, Any

from skilljobs.errors import InputError, JobFailed
from skilljobs.options import option
from skilljobs.spec import JobSpec
from skilljobs.tasks.base import Example, Task, TaskOptions
from skilljobs.tasks.text_task import TextOptions, TextTask

if TYPE_CHECKING:
    from skilljobs.api import Run, open_run, session, submit

__all__ = [
    "Example",
    "InputError",
    "JobFailed",
    "JobSpec",
    "Run",
    "Task",
    "TaskOptions",
    "TextOptions",
    "TextTask",
    "__version__",
    "open_run",
    "option",
    "session",
    "submit",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("skilljobs")
    if name in ("Run", "open_run", "session", "submit"):
        from skilljobs import api

        return getattr(api, name)
    raise AttributeError(f"module 'skilljobs' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
