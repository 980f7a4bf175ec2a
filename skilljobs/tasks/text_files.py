"""Text files and JSON as they are read from a user's data: whatever is wrong with one is said by file and line."""

import codecs
import gzip
import io
import json
import os
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, cast

from skilljobs.errors import InputError

BLOCK_BYTES = 1 << 20
LONGEST_REASON = 300
"""Characters of a library's error that are repeated."""


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


def lines_of(path: Path) -> Iterator[str]:
    """Yield the lines of a text file, decompressed if its name ends in .gz, without holding the file.

    Raises:
        InputError: the file cannot be read. All of it is checked before the first line.
    """
    check_text(path)
    try:
        with _opener(path)(path, "rb") as file:
            for line in io.TextIOWrapper(cast("IO[bytes]", file), encoding="utf-8-sig", newline=None):
                yield line.removesuffix("\n")
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error


def checked_bytes(path: Path) -> bytes:
    """The bytes of a text file, decompressed if its name ends in .gz.

    Raises:
        InputError: the file cannot be read, or a line of it is not UTF-8 or holds a NUL.
    """
    check_text(path)
    with _opener(path)(path, "rb") as file:
        return bytes(file.read())


def check_text(path: Path) -> None:
    """Check that a file, decompressed if its name ends in .gz, is text.

    Raises:
        InputError: the file cannot be read, or a line of it is not UTF-8 or holds a NUL.
    """
    decoder, lines, block = codecs.getincrementaldecoder("utf-8")(), 1, b""
    try:
        with _opener(path)(path, "rb") as file:
            while True:
                pending = decoder.getstate()[0]
                block = bytes(file.read(BLOCK_BYTES))
                nul = block.find(b"\0")
                try:
                    decoder.decode(block, final=not block)
                except UnicodeDecodeError as error:
                    place = error.start - len(pending)
                    if nul < 0 or place < nul:
                        byte = (pending + block)[error.start]
                        line = lines + block.count(b"\n", 0, max(0, place))
                        raise InputError(
                            f"{path}: line {line} holds the byte {byte:#04x}, so it is not UTF-8 text"
                        ) from error
                if nul >= 0:
                    line = lines + block.count(b"\n", 0, nul)
                    raise InputError(f"{path}: line {line} holds a NUL character, so it is not a text file")
                if not block:
                    return
                lines += block.count(b"\n")
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} cannot be read: {error}") from error


def _opener(path: Path) -> Callable[[Path, str], IO[Any]]:
    return gzip.open if path.suffix == ".gz" else open  # type: ignore[return-value]


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


def refuse_repeated_columns(name: Path | str, header: Sequence[str]) -> None:
    """Refuse a table with two columns of one name.

    Raises:
        InputError: names the first of them.
    """
    twice = repeated(header)
    if twice:
        raise InputError(f"{name} has {len(twice)} columns more than once: {', '.join(map(repr, twice[:3]))}")


def one_line(error: Exception) -> str:
    """What an error of a library says, in one line that is not long."""
    text = " ".join(str(error).split())
    return text if len(text) <= LONGEST_REASON else f"{text[:LONGEST_REASON]} ..."
