"""The arguments of `skilljobs.submit` that are no options of the job: checked by name and type, as those are."""

import os
import re
from collections.abc import Collection, Mapping
from typing import Any

from skilljobs.errors import InputError
from skilljobs.options import declared_options, flag_of
from skilljobs.spec import JobSpec
from skilljobs.suggestions import did_you_mean
from skilljobs.tasks.registry import loadable_tasks
from skilljobs.uris import checked_place


def refuse_unknown(options: Collection[str], arguments: Collection[str]) -> None:
    """Refuse a name that is neither an option of a job or a task nor one of `arguments`.

    Raises:
        InputError: names it, and what may have been meant.
    """
    of_tasks = {declared.name for task in loadable_tasks() for declared in task.own_options()}
    known = [*(declared.name for declared in declared_options(JobSpec)), *sorted(of_tasks), *arguments]
    for name in options:
        if name not in known:
            raise InputError(f"submit has no option {name!r}{did_you_mean(name, known)}")


def check_flags(flags: Mapping[str, object]) -> None:
    """Refuse a flag that is neither True nor False: any text is true.

    Raises:
        InputError: names it.
    """
    for name, value in flags.items():
        if not isinstance(value, bool):
            raise InputError(f"{flag_of(name)} is {value!r}; it takes true or false")


def checked_out(out: str | os.PathLike[str]) -> str:
    """The folder that runs are kept in.

    Raises:
        InputError: it names none.
    """
    out = checked_text(out, "--out")
    if not out.strip() or re.fullmatch(r"[\w+.-]+:/*", out):
        raise InputError(f"--out {out!r} names no folder: give the folder or URI that runs are kept in")
    return checked_place(out, "--out")


def checked_text(value: Any, flag: str) -> str:
    """A text, or a path as text.

    Raises:
        InputError: it is neither.
    """
    text = os.fspath(value) if isinstance(value, os.PathLike) else value
    if not isinstance(text, str):
        raise InputError(f"{flag} is {value!r}; it takes a text")
    return text


def checked_run_id(run_id: str) -> str:
    """The name of a run.

    Raises:
        InputError: it is not that of one folder.
    """
    run_id = checked_text(run_id, "--run-id")
    if run_id.strip() in ("", ".", "..") or any(sign in run_id for sign in "/\\") or not run_id.isprintable():
        raise InputError(
            f"--run-id {run_id!r}: the name of a run is the name of one folder, without slashes or control characters"
        )
    return run_id
