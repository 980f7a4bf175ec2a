"""A job as a TOML file: its keys are the options of `skilljobs submit`."""

import json
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from skilljobs.errors import InputError
from skilljobs.suggestions import did_you_mean

Value = str | bool | list[str]


def read_job_file(path: str) -> dict[str, Value]:
    """The options in a file, by parameter name, as the command line would have them: words, or whether a flag is set.

    Raises:
        InputError: there is no such file, it is not TOML, or a value is no word, number, flag or list of them.
    """
    try:
        stored = tomllib.loads(Path(path).read_bytes().decode())
    except OSError as error:
        raise InputError(f"--config {path}: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"--config {path} is not valid TOML: {error}") from None
    return {key.replace("-", "_"): _value(path, key, value) for key, value in stored.items()}


def check_keys(path: str, keys: Collection[str], known: Collection[str]) -> None:
    """Refuse a file with a key that is no option.

    Raises:
        InputError: names the key.
    """
    for key in keys:
        if key not in known:
            raise InputError(f"--config {path}: there is no option {key!r}{did_you_mean(key, known)}")


def job_file_text(options: Mapping[str, Any]) -> str:
    """The text of a file with `options`, which are strings, numbers, flags or lists of them."""
    return "".join(f"{key} = {_literal(value)}\n" for key, value in options.items())


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
