"""The task that a spec names, with what the spec says about its data."""

import os
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

from skilljobs.errors import InputError
from skilljobs.lm.prompt_placement import split_template
from skilljobs.options import declared_options, flag_of
from skilljobs.spec import JobSpec
from skilljobs.suggestions import did_you_mean
from skilljobs.tasks.base import Task
from skilljobs.tasks.registry import find_task, loadable_tasks
from skilljobs.tasks.row_files import is_on_hub
from skilljobs.tasks.table import Table
from skilljobs.tasks.text_files import check_file
from skilljobs.uris import checked_place, is_uri

OPTIONS_A_TASK_MAY_REFUSE = ("train_data", "hide_choices", "template", "unit")


def resolve_spec(spec: JobSpec) -> tuple[JobSpec, type[Task]]:
    """The spec with its model named and the options of its task checked, and the task.

    Raises:
        InputError: there is no such task, no model is named and the task has none by default, or an option is not for
            this task or has a bad value.
    """
    task = find_task(spec.task)
    model = spec.model or task.default_model
    if model is None:
        raise InputError(f"the task {task.name} needs a model: --model ID-or-DIR (or --model tiny to try it)")
    return replace(spec, model=model, own=_checked_own(spec, task)), task


def _checked_own(spec: JobSpec, task: type[Task]) -> dict[str, Any]:
    """The options that the task itself declares, those of default value left out."""
    declared = {option.name: option for option in task.own_options()}
    own: dict[str, Any] = {}
    for name, value in spec.own.items():
        if name in declared:
            checked = declared[name].checked(value)
            if checked != declared[name].default:
                own[name] = checked
        elif value not in (None, False, ()):
            raise InputError(_not_for_this_task(name, task))
    for name in OPTIONS_A_TASK_MAY_REFUSE:
        if getattr(spec, name) not in (None, False) and name not in task.accepts:
            raise InputError(_not_for_this_task(name, task))
    return own


def _not_for_this_task(name: str, task: type[Task]) -> str:
    others = [other.name for other in loadable_tasks() if name in {option.name for option in other.own_options()}]
    known = others or name in OPTIONS_A_TASK_MAY_REFUSE
    flags = [declared.flag for declared in (*declared_options(JobSpec), *task.own_options())]
    of_others = f"; it is an option of {', '.join(others)}" if others else ""
    return (
        f"{flag_of(name)} is not for the task {task.name}{of_others}"
        if known
        else f"there is no option {flag_of(name)}{did_you_mean(flag_of(name), flags)}"
    )


def make_task(spec: JobSpec) -> Task:
    """The task of a resolved spec, ready to give its rows.

    Raises:
        InputError: the spec names a file that is not there, or options that do not go together.
    """
    task = find_task(spec.task)
    places: dict[str, Any] = {}
    for option, name in (("data", spec.data), ("train_data", spec.train_data)):
        if name is not None and is_uri(name):
            if not issubclass(task, Table):
                raise InputError(f"{flag_of(option)} {name}: the task {task.name} reads local files alone")
            places[f"{option}_uri"] = checked_place(name, flag_of(option))
        elif name is not None:
            places[option] = Path(os.path.expanduser(name))
            if not (is_on_hub(name) or (os.path.isdir(places[option]) and issubclass(task, Table))):
                check_file(places[option])
    return task(
        task.options_type(
            **places,
            seed=spec.seed,
            hide_choices=spec.hide_choices,
            template=split_template(spec.template),
            unit_column=spec.unit,
            **spec.own,
        )
    )


def command_of(spec: JobSpec) -> str:
    """The command that submits `spec`, with the options of its task."""
    words, given = ["skilljobs", "submit"], spec.given
    for declared in (*declared_options(JobSpec), *find_task(spec.task).own_options()):
        if declared.name in given:
            words += declared.words(spec.own.get(declared.name, getattr(spec, declared.name, None)))
    return shlex.join(words)
