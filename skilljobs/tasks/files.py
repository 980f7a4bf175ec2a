"""Reading rows from files: JSON lines, CSV, Parquet."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from skilljobs.errors import InputError

TEXT_COLUMNS = ("example_id", "split", "unit", "text", "choices", "target")
"""Columns of a delimited file that are text whatever they look like."""


def read_table(path: Path) -> Iterator[dict[str, Any]]:
    """Rows of a JSON lines, CSV or Parquet file (.jsonl, .csv, .tsv and .gz of these, .parquet).

    Raises:
        InputError: the file is missing, of another kind, or broken; the message names the line where there is one.
    """
    if not path.is_file():
        raise InputError(f"there is no file {path}")
    kind = Path(path.name.removesuffix(".gz")).suffix
    match kind:
        case ".jsonl" | ".ndjson":
            return read_json_lines(path)
        case ".csv" | ".tsv":
            return _delimited(path, "\t" if kind == ".tsv" else ",")
        case ".parquet":
            return _parquet(path)
    raise InputError(f"{path} is not a .jsonl, .csv, .tsv or .parquet file")


def read_text(path: Path) -> str:
    """The text of a file, unpacked if it ends in .gz.

    Raises:
        InputError: it cannot be read.
    """
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8-sig") as file:
            return str(file.read())
    except (OSError, UnicodeDecodeError, EOFError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error


def read_json_lines(path: Path) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise InputError(f"{path}: line {number} is not JSON: {error}") from error
        if not isinstance(row, dict):
            raise InputError(f"{path}: line {number} is not a JSON object")
        yield row


def _delimited(path: Path, delimiter: str) -> Iterator[dict[str, Any]]:
    import pyarrow as pa
    from pyarrow import ArrowInvalid, csv

    try:
        table = csv.read_csv(
            path,
            parse_options=csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            convert_options=csv.ConvertOptions(
                strings_can_be_null=True,
                null_values=[""],
                column_types=dict.fromkeys(TEXT_COLUMNS, pa.string()),
            ),
        )
    except (ArrowInvalid, OSError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    yield from table.to_pylist()


def _parquet(path: Path) -> Iterator[dict[str, Any]]:
    from pyarrow import ArrowInvalid, parquet

    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches():
                yield from batch.to_pylist()
    except (ArrowInvalid, OSError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
