"""Grading texts: does each show the skills that it was to show? By a model as judge, or by a function of the user's."""

import importlib
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from skilljobs.errors import InputError, JobFailed
from skilljobs.tasks.base import Example
from skilljobs.tasks.skillmix import YES_NO, SkillMix, most_sentences

Grade = Callable[[str, list[str], str], Sequence[float]]
"""Text, skills and topic in; a point (0 or 1) for each skill out."""

_SENTENCE_END = re.compile(r"[.!?]+(?=\s|$|[\"'])")


def find_grade_function(name: str) -> Grade | None:
    """The function that `--grader MODULE:FUNCTION` names, in the current directory too; None for a model.

    Raises:
        InputError: the module does not import, or has no such function.
    """
    if ":" not in name or Path(name).exists():
        return None
    module, _, function = name.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found = getattr(importlib.import_module(module), function)
    except Exception as error:
        raise InputError(f"--grader {name}: {type(error).__name__}: {error}") from error
    if not callable(found):
        raise InputError(f"--grader {name}: {function} is not a function")
    return found  # type: ignore[no-any-return]


def points_of(grade: Grade, row: Mapping[str, Any], name: str) -> list[float]:
    """What the user's function says of a text.

    Raises:
        JobFailed: it raises, or does not give a point for each skill.
    """
    try:
        points = [float(point) for point in grade(row["text"], list(row["skills"]), row["topic"])]
    except Exception as error:
        raise JobFailed(f"--grader {name} failed on the text {row['id']}: {type(error).__name__}: {error}") from error
    if len(points) != len(row["skills"]) or not set(points) <= {0.0, 1.0}:
        raise JobFailed(
            f"--grader {name} gave {points} for the text {row['id']}: it must give 0 or 1 for each of its"
            f" {len(row['skills'])} skills"
        )
    return points


def questions_about(task: SkillMix, rows: Sequence[Mapping[str, Any]]) -> list[Example]:
    """Whether each text shows each of its skills, as a judge is asked."""
    return [
        Example(f"{row['id']}/{place}", "", "test", task.question(row, skill), YES_NO, 0)
        for row in rows
        for place, skill in enumerate(row["skills"])
    ]


def length_point(row: Mapping[str, Any]) -> float:
    """Whether the text keeps to the sentences that were asked for."""
    sentences = len(_SENTENCE_END.findall(row["text"])) or 1
    return float(sentences <= most_sentences(row["skills"]))
