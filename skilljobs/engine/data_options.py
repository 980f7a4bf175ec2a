"""What a spec says about the data, as the task gets it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from skilljobs.errors import InputError
from skilljobs.lm.prompt_placement import split_template
from skilljobs.spec import JobSpec, option_of
from skilljobs.tasks.base import Task, TaskOptions
from skilljobs.tasks.files import is_on_hub

TASK_FIELDS = ("train_data", "hide_choices", "template", "unit", "label_words", "view", "generate", "grader")
"""Options about a task's data, which a task heeds or not."""
COLUMNS = {name: name for name in ("text", "choices", "answer", "target", "split")} | {"id": "example_id"}
"""Options `--NAME-column` of a table, and the column of an example that each one names."""


def task_options(spec: JobSpec, task: type[Task], texts: Sequence[Mapping[str, Any]] | None = None) -> TaskOptions:
    """What `spec` says about the task's data. `texts`: what was written for it.

    Raises:
        InputError: it says something that the task does not heed, or names a file that is not there.
    """
    for field in (*TASK_FIELDS, *(f"{column}_column" for column in COLUMNS)):
        if getattr(spec, field) not in (None, False, ()) and field not in task.takes:
            raise InputError(f"{option_of(field)} is not for the task {task.name}")
    for name in (spec.data, spec.train_data):
        if name is not None and not is_on_hub(name) and not Path(name).expanduser().is_file():
            raise InputError(f"there is no file {name}")
    return TaskOptions(
        data=None if spec.data is None else Path(spec.data).expanduser(),
        train_data=None if spec.train_data is None else Path(spec.train_data).expanduser(),
        seed=spec.seed,
        hide_choices=spec.hide_choices,
        template=split_template(spec.template),
        unit_column=spec.unit,
        label_words=spec.label_words,
        view=spec.view,
        texts=texts,
        columns={
            COLUMNS[column]: name for column in COLUMNS if (name := getattr(spec, f"{column}_column")) is not None
        },
    )
