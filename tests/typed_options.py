"""Writes `skilljobs/submit_options.py`, the types of the options of `submit`: `python -m tests.typed_options`."""

import subprocess
import sys
from pathlib import Path

import skilljobs
from skilljobs.options import Option, declared_options
from skilljobs.spec import JobSpec
from skilljobs.tasks.arithmetic import Arithmetic
from skilljobs.tasks.base import Task
from skilljobs.tasks.hans import Hans
from skilljobs.tasks.skillmix import SkillMix
from skilljobs.tasks.table import Table

PATH = Path(skilljobs.__file__).with_name("submit_options.py")
HEAD = '''"""The options of a job as keyword arguments, for editors and type checkers.

Written by `python -m tests.typed_options` from what `JobSpec` and the project's own tasks declare. Options of tasks in
other packages are accepted as well; a type checker does not know them.
"""

import os
from collections.abc import Sequence
from typing import Literal, TypedDict


class SubmitOptions(TypedDict, total=False):
    """What `skilljobs.submit` takes beside its own arguments."""
'''


def options() -> dict[str, list[Option]]:
    """The declarations of each option by name: several tasks may declare one."""
    found: dict[str, list[Option]] = {}
    tasks: list[type[Task]] = [Table, Arithmetic, Hans, SkillMix]
    declaring: list[type] = [JobSpec, *(task.options_type for task in tasks)]
    for dataclass in declaring:
        for declared in declared_options(dataclass):
            found.setdefault(declared.name, []).append(declared)
    return found


def type_of(declared: Option) -> str:
    """The types that `Option.checked` accepts."""
    if declared.choices:
        one = f"Literal[{', '.join(map(repr, declared.choices))}]"
    elif declared.kind is str and declared.text.is_path:
        one = "str | os.PathLike[str]"
    else:
        one = declared.kind.__name__
    if declared.repeats:
        one = f"{one} | Sequence[{one}]"
    elif declared.values > 1:
        one = f"Sequence[{one}]"
    return f"{one} | None" if declared.default is None else one


def source() -> str:
    """The text of the module."""
    lines = [HEAD]
    for name, declarations in options().items():
        types = list(dict.fromkeys(map(type_of, declarations)))
        lines.append(f'    {name}: {" | ".join(types)}\n    """{declarations[0].text.help}"""\n')
    formatted = subprocess.run(
        [sys.executable, "-m", "ruff", "format", "--stdin-filename", PATH.name, "-"],
        input="\n".join(lines), capture_output=True, text=True, check=True, cwd=PATH.parent,
    )  # fmt: skip
    return formatted.stdout


if __name__ == "__main__":
    PATH.write_text(source(), encoding="utf-8")
