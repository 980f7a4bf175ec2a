"""Reads rows from JSON lines, CSV and Parquet files, and from the Hugging Face hub."""

import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skilljobs.errors import InputError
from skilljobs.tasks.text_files import check_file, checked_bytes, lines_of, parse_json, repeated

if TYPE_CHECKING:
    import pyarrow as pa

TEXT_COLUMNS = ("example_id", "split", "unit", "text", "choices", "target")
"""Columns of a delimited file that are read as text even if their values look like numbers."""


NOT_AVAILABLE = ("NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "None")
"""What stands for a missing number in a delimited file."""
HUB = "hub:"
BATCH_ROWS, BATCH_BYTES = 65_536, 64 << 20
"""At most so many rows, or bytes, are read at a time."""
LONGEST_REASON = 300
"""Characters of a library's error that are repeated."""


def is_on_hub(name: str | Path) -> bool:
    """Return whether `name` refers to a data set on the Hugging Face hub: `hub:ID` or `hub:ID:SPLIT`."""
    return str(name).startswith(HUB)


def read_table(path: Path, text_columns: Collection[str] = ()) -> Iterator[dict[str, Any]]:
    """Return the rows of a JSON lines, CSV or Parquet file, or of a data set of the Hugging Face hub.

    The file's name ends in .jsonl, .ndjson, .csv or .tsv, each of which may be followed by .gz, or in .parquet. A
    folder of Parquet files is one table, in the order of their names.

    `text_columns` are further columns of a delimited file that are read as text even if their values look like numbers.

    Raises:
        InputError: the file is missing, of another kind, or broken; the message names the line if there is one.
    """
    batches = read_batches(path, text_columns)
    if batches is not None:
        return (row for batch in batches for row in rows_of(path, batch))
    return _hub_rows(str(path)) if is_on_hub(path) else read_json_lines(path)


def read_batches(path: Path, text_columns: Collection[str] = ()) -> "Iterator[pa.RecordBatch] | None":
    """Return the rows of a file or data set some thousands at a time, in columns; None if that is not how it has them.

    The arguments and exceptions are those of `read_table`.
    """
    if is_on_hub(path):
        return _hub_batches(str(path))
    if path.is_dir():
        return _folder(path)
    check_file(path)
    kind = Path(path.name.removesuffix(".gz")).suffix
    match kind:
        case ".jsonl" | ".ndjson":
            return None
        case ".csv" | ".tsv":
            return _delimited(path, "\t" if kind == ".tsv" else ",", text_columns)
        case ".parquet":
            return _parquet(path)
    raise InputError(f"{path} is not a .jsonl, .csv, .tsv or .parquet file")


def read_tab_separated(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a tab-separated file in which quotation marks have no special meaning; every column is text.

    MNLI, HANS and similar data sets are released in this format (.tsv or .txt, which may be followed by .gz).

    Raises:
        InputError: the file cannot be read, or a line does not have as many columns as the header.
    """
    lines = (line for line in lines_of(path) if line.strip())
    header = next(lines, "").rstrip("\r").split("\t")
    _refuse_duplicates(path, header)
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
    _refuse_duplicates(path, table.column_names)
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


def _refuse_duplicates(path: Path, header: Sequence[str]) -> None:
    twice = repeated(header)
    if twice:
        raise InputError(f"{path} has {len(twice)} columns more than once: {', '.join(map(repr, twice[:3]))}")


def _parquet(path: Path) -> "Iterator[pa.RecordBatch]":
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            _refuse_duplicates(path, file.schema_arrow.names)
            groups = [file.metadata.row_group(number) for number in range(file.num_row_groups)]
            width = max((group.total_byte_size // max(1, group.num_rows) for group in groups), default=0)
            yield from file.iter_batches(max(1, min(BATCH_ROWS, BATCH_BYTES // max(1, width))))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {one_line(error)}") from error


def _folder(path: Path) -> "Iterator[pa.RecordBatch]":
    """The rows of all Parquet files of a folder, which must have the same columns, one file after another.

    Files whose names begin with a dot or an underscore are none of the data, as in Spark and Arrow.
    """
    names = sorted(name for name in os.listdir(path) if not name.startswith((".", "_")))
    other = [name for name in names if not name.endswith(".parquet") or not (path / name).is_file()]
    if other:
        raise InputError(f"{path} may hold Parquet files only, and not {other[0]!r}")
    if not names:
        raise InputError(f"{path} is a folder without Parquet files")
    columns = {name: set(_schema_names(path / name)) for name in names}
    for name, found in columns.items():
        different = sorted(found ^ columns[names[0]])
        if different:
            with_it, without = (name, names[0]) if different[0] in found else (names[0], name)
            raise InputError(f"{path}: {with_it} has the column {different[0]!r}, and {without} has not")
    return (batch for name in names for batch in _parquet(path / name))


def _schema_names(path: Path) -> list[str]:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        return list(parquet.read_schema(path).names)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {one_line(error)}") from error


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


def one_line(error: Exception) -> str:
    """What an error of a library says, in one line that is not long."""
    text = " ".join(str(error).split())
    return text if len(text) <= LONGEST_REASON else f"{text[:LONGEST_REASON]} ..."


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
