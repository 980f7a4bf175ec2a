"""Tasks by name: the built-in ones and those that installed packages add."""

from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import entry_points

from skilljobs.errors import InputError
from skilljobs.tasks.arithmetic import Arithmetic
from skilljobs.tasks.base import Task
from skilljobs.tasks.hans import Hans
from skilljobs.tasks.skillmix import SkillMix
from skilljobs.tasks.table import Table

ENTRY_POINTS = "skilljobs.tasks"
_BUILT_IN: tuple[type[Task], ...] = (Arithmetic, Hans, SkillMix)


def task_names() -> list[str]:
    """The names that `--task` accepts."""
    return [task.name for task in _BUILT_IN] + [point.name for point in entry_points(group=ENTRY_POINTS)]


def loadable_tasks() -> Iterator[type[Task]]:
    """Every task, the user's own table among them; tasks of packages that do not load are left out."""
    yield from _BUILT_IN
    yield Table
    for point in entry_points(group=ENTRY_POINTS):
        with suppress(InputError):
            yield find_task(point.name)


def find_task(name: str | None) -> type[Task]:
    """The task called `name`; without a name, the user's own table.

    Raises:
        InputError: there is no such task, or its package does not load.
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
            raise InputError(f"the task {name!r} does not load from {point.value}: {error}") from error
        if not (isinstance(loaded, type) and issubclass(loaded, Task)):
            raise InputError(f"the task {name!r}: {point.value} is not a subclass of skilljobs.Task")
        return loaded
    raise InputError(f"there is no task {name!r}; there are {', '.join(task_names())}")
