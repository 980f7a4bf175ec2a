"""The options of several jobs: what is common to all, and what only some of their tasks take."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from skilljobs.errors import InputError
from skilljobs.options import declared_options, flag_of
from skilljobs.plan.data_options import OPTIONS_A_TASK_MAY_REFUSE
from skilljobs.spec import JobSpec
from skilljobs.tasks.base import Task
from skilljobs.tasks.registry import find_task

RUN_ID = "run_id"
"""The one argument of `submit` that is no option of a job and that each of several jobs may have."""


@dataclass(frozen=True)
class JobOptions:
    """The options of one of several jobs, by name."""

    label: str
    """Which job it is, for messages."""
    values: Mapping[str, Any]
    not_for_it: tuple[str, ...]
    """Common options that it does without, because they are options of another job's task."""

    @property
    def note(self) -> str | None:
        """What it does without, in words."""
        if not self.not_for_it:
            return None
        return f"{self.label}: without {', '.join(map(flag_of, self.not_for_it))}, which its task does not have"


def options_of_each(jobs: Sequence[Mapping[str, Any]], common: Mapping[str, Any]) -> list[JobOptions]:
    """The options of each job: `common`, and its own, which count more.

    A common option that only some of the tasks have is given to the jobs of these tasks. One that none of them has
    stays with all, and is refused with them; so is an own option that is not for the job's task.

    Raises:
        InputError: there are no jobs, a job is no mapping, or a task does not exist.
    """
    if not jobs:
        raise InputError("there are no jobs: give the options of at least one")
    if RUN_ID in common:
        raise InputError(f"{flag_of(RUN_ID)} names one run, and each of several jobs has its own: give it to one job")
    merged, tasks, labels = [], [], []
    for number, own in enumerate(jobs, 1):
        place = f"job {number} of {len(jobs)}" if len(jobs) > 1 else "the job"
        if not isinstance(own, Mapping):
            raise InputError(f"{place} is {own!r}; a job is given by its options, by name")
        values = {**common, **own}
        try:
            task = find_task(values.get("task"))
        except InputError as error:
            raise InputError(f"{place}: {error}") from error
        merged.append(values)
        tasks.append(task)
        labels.append(f"{place} ({values.get('task') or values.get('data') or task.name})")
    general = {declared.name for declared in declared_options(JobSpec)} - {*OPTIONS_A_TASK_MAY_REFUSE}
    found = []
    for own, values, task, label in zip(jobs, merged, tasks, labels, strict=True):
        left_out = tuple(
            name
            for name in common
            if name not in {*own, *general} and not _takes(task, name) and any(_takes(other, name) for other in tasks)
        )
        found.append(JobOptions(label, {n: v for n, v in values.items() if n not in left_out}, left_out))
    return found


def _takes(task: type[Task], name: str) -> bool:
    return name in task.accepts or name in {declared.name for declared in task.own_options()}
