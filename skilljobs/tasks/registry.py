"""Finds tasks by name: the built-in tasks and those that installed packages add."""

from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import entry_points

from skilljobs.errors import InputError
from skilljobs.suggestions import did_you_mean, shortened
from skilljobs.tasks.arithmetic import Arithmetic
from skilljobs.tasks.base import Task
from skilljobs.tasks.hans import Hans
from skilljobs.tasks.skillmix import SkillMix
from skilljobs.tasks.table import Table

ENTRY_POINTS = "skilljobs.tasks"
_BUILT_IN: tuple[type[Task], ...] = (Arithmetic, Hans, SkillMix)


def task_names() -> list[str]:
    """Return the names that `--task` accepts."""
    return [task.name for task in _BUILT_IN] + [point.name for point in entry_points(group=ENTRY_POINTS)]


def loadable_tasks() -> Iterator[type[Task]]:
    """Yield every task, including the user's own table. Tasks of packages that cannot be loaded are left out."""
    yield from _BUILT_IN
    yield Table
    for point in entry_points(group=ENTRY_POINTS):
        with suppress(InputError):
            yield find_task(point.name)


def find_task(name: str | None) -> type[Task]:
    """Return the task called `name`, or the user's own table if `name` is None.

    Raises:
        InputError: there is no such task, or its package cannot be loaded.
    """
    if name is None:
        return Table
    for task in _BUILT_IN:
        if task.name == name:
            return task
    for point in entry_points(group=ENTRY_POINTS, name=name):
        try:
            loaded = point.load()
        except Exception as error:
            raise InputError(f"the task {name!r} cannot be loaded from {point.value}: {error}") from error
        if not (isinstance(loaded, type) and issubclass(loaded, Task)):
            raise InputError(f"the task {name!r} cannot be used: {point.value} is not a subclass of skilljobs.Task")
        return loaded
    known = task_names()
    raise InputError(f"there is no task {name!r}{did_you_mean(name, known)}; the tasks are {shortened(known)}")
