"""Reads rows from JSON lines, CSV and Parquet files, and from the Hugging Face hub."""

from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skilljobs.errors import InputError
from skilljobs.tasks.text_files import (
    check_file,
    checked_bytes,
    lines_of,
    one_line,
    parse_json,
    refuse_repeated_columns,
)

if TYPE_CHECKING:
    import pyarrow as pa

TEXT_COLUMNS = ("example_id", "split", "unit", "text", "choices", "target")
"""Columns of a delimited file that are read as text even if their values look like numbers."""


NOT_AVAILABLE = ("NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "None")
"""What stands for a missing number in a delimited file."""
HUB = "hub:"
BATCH_ROWS = 65_536
"""At most so many rows are read at a time."""


def is_on_hub(name: str | Path) -> bool:
    """Return whether `name` refers to a data set on the Hugging Face hub: `hub:ID` or `hub:ID:SPLIT`."""
    return str(name).startswith(HUB)


def read_table(path: Path | str, text_columns: Collection[str] = ()) -> Iterator[dict[str, Any]]:
    """Return the rows of a JSON lines, CSV or Parquet file, or of a data set of the Hugging Face hub.

    The file's name ends in .jsonl, .ndjson, .csv or .tsv, each of which may be followed by .gz, or in .parquet. A
    folder of Parquet files is one table, in the order of their names. A text is the URI of a Parquet file or folder.

    `text_columns` are further columns of a delimited file that are read as text even if their values look like numbers.

    Raises:
        InputError: the file is missing, of another kind, or broken; the message names the line if there is one.
    """
    batches = read_batches(path, text_columns)
    if batches is not None:
        return (row for batch in batches for row in rows_of(path, batch))
    return _hub_rows(str(path)) if is_on_hub(path) else read_json_lines(Path(path))


def read_batches(path: Path | str, text_columns: Collection[str] = ()) -> "Iterator[pa.RecordBatch] | None":
    """Return the rows of a file or data set some thousands at a time, in columns; None if that is not how it has them.

    The arguments and exceptions are those of `read_table`.
    """
    if is_on_hub(path):
        return _hub_batches(str(path))
    from skilljobs.tasks.parquet_tables import parquet_batches  # which imports pyarrow

    if isinstance(path, str) or path.is_dir():
        return parquet_batches(path, BATCH_ROWS)
    check_file(path)
    kind = Path(path.name.removesuffix(".gz")).suffix
    match kind:
        case ".jsonl" | ".ndjson":
            return None
        case ".csv" | ".tsv":
            return _delimited(path, "\t" if kind == ".tsv" else ",", text_columns)
        case ".parquet":
            return parquet_batches(path, BATCH_ROWS)
    raise InputError(f"{path} is not a .jsonl, .csv, .tsv or .parquet file")


def read_tab_separated(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a tab-separated file in which quotation marks have no special meaning; every column is text.

    MNLI, HANS and similar data sets are released in this format (.tsv or .txt, which may be followed by .gz).

    Raises:
        InputError: the file cannot be read, or a line does not have as many columns as the header.
    """
    lines = (line for line in lines_of(path) if line.strip())
    header = next(lines, "").rstrip("\r").split("\t")
    refuse_repeated_columns(path, header)
    for number, line in enumerate(lines, start=2):
        cells = line.rstrip("\r").split("\t")
        if len(cells) != len(header):
            raise InputError(f"{path}: line {number} has {len(cells)} columns, but the header has {len(header)}")
        yield dict(zip(header, cells, strict=True))


def read_json_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a JSON lines file; empty lines are skipped.

    Raises:
        InputError: the file cannot be read, or a line is not a JSON object.
    """
    for number, line in enumerate(lines_of(path), start=1):
        if not line.strip():
            continue
        try:
            row = parse_json(line)
        except ValueError as error:
            raise InputError(f"{path}: line {number} {error}") from error
        if not isinstance(row, dict):
            raise InputError(f"{path}: line {number} is not a JSON object")
        yield row


def _delimited(path: Path, delimiter: str, text_columns: Collection[str]) -> "Iterator[pa.RecordBatch]":
    import pyarrow as pa
    from pyarrow import csv

    data = checked_bytes(path)
    if not data.strip():
        return
    try:
        table = csv.read_csv(
            pa.BufferReader(data),
            parse_options=csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            convert_options=csv.ConvertOptions(
                strings_can_be_null=True,
                null_values=[""],
                column_types=dict.fromkeys([*TEXT_COLUMNS, *text_columns], pa.string()),
            ),
        )
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path} cannot be read: {one_line(error)}") from error
    del data
    refuse_repeated_columns(path, table.column_names)
    for place, name in enumerate(table.column_names):
        if pa.types.is_string(table.schema.types[place]) and name not in {*TEXT_COLUMNS, *text_columns}:
            numbers = _nullable_numbers(table.column(place))
            table = table if numbers is None else table.set_column(place, name, numbers)
    yield from table.to_batches(max_chunksize=BATCH_ROWS)


def _nullable_numbers(column: "pa.ChunkedArray") -> "pa.ChunkedArray | None":
    """A text column as numbers, if all of its values are numbers but for `NA` and the like; else None."""
    import pyarrow as pa
    from pyarrow import compute

    present = compute.if_else(compute.is_in(column, pa.array(NOT_AVAILABLE)), None, column)
    if present.null_count == len(present) or present.null_count == column.null_count:
        return None
    for kind in (pa.int64(), pa.float64()):
        with suppress(pa.ArrowInvalid):
            return compute.cast(present, kind)
    return None


def rows_of(path: Path | str | None, table: "pa.Table | pa.RecordBatch") -> list[dict[str, Any]]:
    """The rows of a table; moments to the nanosecond are cut to microseconds, which Python's have.

    Raises:
        InputError: a value has no counterpart in Python.
    """
    import pyarrow as pa

    for place, field in enumerate(table.schema):
        if pa.types.is_timestamp(field.type) and field.type.unit == "ns":
            column = table.column(place).cast(pa.timestamp("us", field.type.tz), safe=False)
            table = table.set_column(place, field.name, column)
    try:
        return list(table.to_pylist())
    except (pa.ArrowException, ValueError, OverflowError) as error:
        raise InputError(f"{path} holds a value that cannot be read: {one_line(error)}") from error


def _hub_rows(name: str) -> Iterator[dict[str, Any]]:
    yield from (dict(row) for row in _hub(name))


def _hub_batches(name: str) -> "Iterator[pa.RecordBatch] | None":
    """The rows of a data set whose columns are plain values, or lists of these; None for one with others."""
    data = _hub(name)
    from datasets import ClassLabel, List, Value

    for feature in data.features.values():
        value = feature.feature if isinstance(feature, List) else feature
        if not isinstance(value, Value | ClassLabel):
            return None
    tables = data.with_format("arrow").iter(BATCH_ROWS)
    return (batch for table in tables for batch in table.combine_chunks().to_batches())


def _hub(name: str) -> Any:
    """The split of a data set on the hub that `hub:ID` or `hub:ID:SPLIT` names."""
    try:
        import datasets
    except ImportError:
        raise InputError(f"{name} cannot be read without an extra of skilljobs: pip install 'skilljobs[hub]'") from None
    data_id, _, split = name.removeprefix(HUB).partition(":")
    try:
        splits = datasets.load_dataset(data_id)
    except Exception as error:  # the library's errors have no common base class
        raise InputError(f"no data set {data_id!r} could be loaded: {str(error).splitlines()[0]}") from error
    chosen = split or ("validation" if "validation" in splits else next(iter(splits)))
    if chosen not in splits:
        raise InputError(f"the data set {data_id!r} has no split {chosen!r}; it has {', '.join(splits)}")
    return splits[chosen]
