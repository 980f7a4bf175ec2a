"""Text files and JSON as they are read from a user's data: whatever is wrong with one is said by file and line."""

import gzip
import io
import json
import os
import zlib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from skilljobs.errors import InputError


def check_file(path: Path | str) -> None:
    """Check that there is a file of this name.

    Raises:
        InputError: there is none, or it is a directory.
    """
    if os.path.isdir(path):
        raise InputError(f"{path} is a directory, not a file")
    if not os.path.isfile(path):
        raise InputError(f"there is no file {path}")


def read_text(path: Path) -> str:
    """Return the text of a file, decompressed if its name ends in .gz.

    Raises:
        InputError: the file cannot be read.
    """
    return io.StringIO(checked_bytes(path).decode("utf-8-sig"), newline=None).read()


def checked_bytes(path: Path) -> bytes:
    """The bytes of a text file, decompressed if its name ends in .gz.

    Raises:
        InputError: the file cannot be read, or a line of it is not UTF-8 or holds a NUL.
    """
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rb") as file:
            data = bytes(file.read())
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    nul = data.find(b"\0")
    try:
        data.decode()
    except UnicodeDecodeError as error:
        if nul < 0 or error.start < nul:
            place = f"line {_line(data, error.start)} holds the byte {data[error.start]:#04x}"
            raise InputError(f"{path}: {place}, so it is not UTF-8 text") from error
    if nul >= 0:
        raise InputError(f"{path}: line {_line(data, nul)} holds a NUL character, so it is not a text file")
    return data


def _line(data: bytes, position: int) -> int:
    return data.count(b"\n", 0, position) + 1


def parse_json(text: str) -> Any:
    """Return what a JSON text holds.

    Raises:
        ValueError: the text is not JSON, or has a name twice; the message is the rest of a sentence about it.
    """
    try:
        return json.loads(text, object_pairs_hook=_without_duplicates)
    except json.JSONDecodeError as error:
        raise ValueError(f"is not JSON: {error}") from error
    except RecursionError as error:
        raise ValueError("is not JSON that can be read: it is nested too deeply") from error
    except ValueError as error:
        if "int_max_str_digits" in str(error):
            raise ValueError("has a number of more than 4,300 digits") from error
        raise


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    twice = repeated(name for name, _ in pairs)
    if twice:
        raise ValueError(f"has {twice[0]!r} more than once")
    return dict(pairs)


def repeated(names: Iterable[str]) -> list[str]:
    """Those of `names` that occur more than once."""
    return [name for name, count in Counter(names).items() if count > 1]
