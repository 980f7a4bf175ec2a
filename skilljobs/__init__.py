"""Find the skill neurons of a frozen language model, at any scale."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from skilljobs.errors import InputError, JobFailed, SomeJobsFailed
from skilljobs.options import option
from skilljobs.spec import JobSpec
from skilljobs.tasks.base import Example, Task, TaskOptions
from skilljobs.tasks.text_task import TextOptions, TextTask

if TYPE_CHECKING:
    from skilljobs.api import Run, open_run, submit
    from skilljobs.series import Series, open_series, sweep
    from skilljobs.several import session, submit_many

__all__ = [
    "Example",
    "InputError",
    "JobFailed",
    "JobSpec",
    "Run",
    "Series",
    "SomeJobsFailed",
    "Task",
    "TaskOptions",
    "TextOptions",
    "TextTask",
    "__version__",
    "open_run",
    "open_series",
    "option",
    "session",
    "submit",
    "submit_many",
    "sweep",
]

_FROM = {
    "skilljobs.api": ("Run", "open_run", "submit"),
    "skilljobs.several": ("session", "submit_many"),
    "skilljobs.series": ("Series", "open_series", "sweep"),
}
"""Imported when they are first asked for: they take long to import."""


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("skilljobs")
    for module, names in _FROM.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module 'skilljobs' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
