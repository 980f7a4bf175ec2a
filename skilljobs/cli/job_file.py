"""A job as a TOML file: its keys are the options of `skilljobs submit`.

A table `[[jobs]]` is one of several jobs; the keys above the first one are common to all.
"""

import json
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from skilljobs.errors import InputError
from skilljobs.suggestions import did_you_mean

Value = str | bool | list[str]
JOBS = "jobs"


class JobFile(NamedTuple):
    """Options by parameter name, as the command line would have them: words, or whether a flag is set."""

    options: dict[str, Value]
    jobs: tuple[dict[str, Value], ...] = ()
    """Those of each of several jobs."""


def read_job_file(path: str) -> JobFile:
    """The options in a file.

    Raises:
        InputError: there is no such file, it is not TOML, or a value is no word, number, flag or list of them.
    """
    try:
        stored = tomllib.loads(Path(path).read_bytes().decode())
    except OSError as error:
        raise InputError(f"--config {path}: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"--config {path} is not valid TOML: {error}") from None
    jobs = stored.pop(JOBS, [])
    if not isinstance(jobs, list) or not all(isinstance(job, dict) for job in jobs):
        raise InputError(f"--config {path}: {JOBS} is {jobs!r}; each job is a table, [[{JOBS}]]")
    return JobFile(_values(path, stored), tuple(_values(path, job) for job in jobs))


def check_keys(path: str, file: JobFile, known: Collection[str], of_a_job: Collection[str]) -> None:
    """Refuse a file with a key that is not one of the `known` options, or in one of several jobs not `of_a_job`.

    Raises:
        InputError: names the key.
    """
    for number, options in enumerate((file.options, *file.jobs)):
        where = f"--config {path}" if number == 0 else f"--config {path}, job {number}"
        for key in options:
            if key not in known:
                raise InputError(f"{where}: there is no option {key!r}{did_you_mean(key, known)}")
            if number > 0 and key not in of_a_job:
                raise InputError(f"{where}: {key} is common to all jobs: put it above the first [[{JOBS}]]")


def job_file_text(options: Mapping[str, Any]) -> str:
    """The text of a file with `options`, which are strings, numbers, flags or lists of them."""
    return "".join(f"{key} = {_literal(value)}\n" for key, value in options.items())


def _values(path: str, stored: Mapping[str, Any]) -> dict[str, Value]:
    return {key.replace("-", "_"): _value(path, key, value) for key, value in stored.items()}


def _value(path: str, key: str, value: Any) -> Value:
    if isinstance(value, list):
        return [_word(path, key, part) for part in value]
    return value if isinstance(value, bool) else _word(path, key, value)


def _word(path: str, key: str, value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise InputError(f"--config {path}: {key} is {value!r}; an option is a text, a number, true, false or a list")
    return str(value)


def _literal(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_literal, value))}]"
    if isinstance(value, str):  # a JSON string is a TOML string, but for the character DEL
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return json.dumps(value)
