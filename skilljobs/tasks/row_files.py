"""Reading rows from files: JSON lines, CSV, Parquet."""

import gzip
import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from skilljobs.errors import InputError

TEXT_COLUMNS = ("example_id", "split", "unit", "text", "choices", "target")
"""Columns of a delimited file that are text whatever they look like."""


HUB = "hub:"


def is_on_hub(name: str | Path) -> bool:
    """Whether `name` is that of a data set on the Hugging Face hub: `hub:ID`, or `hub:ID:SPLIT`."""
    return str(name).startswith(HUB)


def read_table(path: Path, text_columns: Collection[str] = ()) -> Iterator[dict[str, Any]]:
    """Rows of a JSON lines, CSV or Parquet file (.jsonl, .csv, .tsv and .gz of these, .parquet), or of the hub's.

    `text_columns` are further columns of a delimited file that are text whatever they look like.

    Raises:
        InputError: the file is missing, of another kind, or broken; the message names the line where there is one.
    """
    if is_on_hub(path):
        return _hub(str(path))
    if not path.is_file():
        raise InputError(f"there is no file {path}")
    kind = Path(path.name.removesuffix(".gz")).suffix
    match kind:
        case ".jsonl" | ".ndjson":
            return read_json_lines(path)
        case ".csv" | ".tsv":
            return _delimited(path, "\t" if kind == ".tsv" else ",", text_columns)
        case ".parquet":
            return _parquet(path)
    raise InputError(f"{path} is not a .jsonl, .csv, .tsv or .parquet file")


def read_tab_separated(path: Path) -> Iterator[dict[str, Any]]:
    """Rows of a tab-separated file in which a quotation mark is a character like any other; every column is text.

    That is how MNLI, HANS and their relatives are released (.tsv, .txt, and .gz of these).

    Raises:
        InputError: the file cannot be read, or a line has not as many columns as the header.
    """
    lines = (line for line in read_text(path).split("\n") if line.strip())
    header = next(lines, "").rstrip("\r").split("\t")
    for number, line in enumerate(lines, start=2):
        cells = line.rstrip("\r").split("\t")
        if len(cells) != len(header):
            raise InputError(f"{path}: line {number} has {len(cells)} columns; the header has {len(header)}")
        yield dict(zip(header, cells, strict=True))


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


def _delimited(path: Path, delimiter: str, text_columns: Collection[str]) -> Iterator[dict[str, Any]]:
    import pyarrow as pa
    from pyarrow import ArrowInvalid, csv

    try:
        table = csv.read_csv(
            path,
            parse_options=csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            convert_options=csv.ConvertOptions(
                strings_can_be_null=True,
                null_values=[""],
                column_types=dict.fromkeys([*TEXT_COLUMNS, *text_columns], pa.string()),
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


def _hub(name: str) -> Iterator[dict[str, Any]]:
    try:
        import datasets
    except ImportError:
        raise InputError(f"{name}: reading from the hub needs the extra: pip install 'skilljobs[hub]'") from None
    data_id, _, split = name.removeprefix(HUB).partition(":")
    try:
        found = datasets.load_dataset(data_id)
    except Exception as error:  # the library has no error of its own above all others
        raise InputError(f"there is no data set {data_id!r} to be had: {str(error).splitlines()[0]}") from error
    chosen = split or ("validation" if "validation" in found else next(iter(found)))
    if chosen not in found:
        raise InputError(f"the data set {data_id!r} has no split {chosen!r}; it has {', '.join(found)}")
    yield from (dict(row) for row in found[chosen])
