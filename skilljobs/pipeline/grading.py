"""Grading texts by a function of the user's."""

import importlib
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from skilljobs.errors import InputError, JobFailed
from skilljobs.tasks.text_task import TextTask

GradeFunction = Callable[..., Any]
"""Takes what the task passes it (see `TextTask.grade_by_function`)."""


def find_grade_function(name: str) -> GradeFunction | None:
    """The function that `--grader MODULE:FUNCTION` names, also in the current directory; None if it names a model.

    Raises:
        InputError: the module cannot be imported, or has no such function.
    """
    if ":" not in name or Path(name).exists():
        return None
    module, _, function_name = name.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        function = getattr(importlib.import_module(module), function_name)
    except Exception as error:
        raise InputError(f"--grader {name}: {type(error).__name__}: {error}") from error
    if not callable(function):
        raise InputError(f"--grader {name}: {function_name} is not a function")
    return function  # type: ignore[no-any-return]


def grade(task: TextTask, function: GradeFunction, row: Mapping[str, Any], name: str) -> list[float]:
    """The points that the user's function gives to a text.

    Raises:
        JobFailed: it raises, or does not return a point for each question.
    """
    try:
        return task.grade_by_function(function, row)
    except Exception as error:
        raise JobFailed(f"--grader {name} failed on the text {row['id']}: {type(error).__name__}: {error}") from error
