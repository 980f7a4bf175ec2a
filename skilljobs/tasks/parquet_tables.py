"""Reads tables of Parquet files: one file or a folder of them, on a disk or at a URI, some row groups ahead."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from pyarrow import fs, parquet

from skilljobs.errors import InputError
from skilljobs.filesystems import open_uri
from skilljobs.tasks.read_ahead import read_ahead
from skilljobs.tasks.text_files import one_line, refuse_repeated_columns
from skilljobs.uris import child_uri

BATCH_BYTES = 16 << 20
"""At most so many are in a batch."""
PIECE_BYTES = 16 << 20
"""Row groups are read together up to so many bytes, decoded."""
FOOTERS_AT_ONCE = 16
"""Files whose columns are looked at side by side: an object store takes some time for each."""


@dataclass(frozen=True)
class _File:
    """A Parquet file whose footer was read."""

    filesystem: fs.FileSystem
    path: str
    name: str
    """As messages call it."""
    metadata: parquet.FileMetaData

    def pieces(self, batch_rows: int) -> "Iterator[_Piece]":
        """The row groups, those together that are read together."""
        groups, taken = list[int](), 0
        for group in range(self.metadata.num_row_groups):
            size = self.metadata.row_group(group).total_byte_size
            if groups and taken + size > PIECE_BYTES:
                yield _Piece(self, tuple(groups), taken, batch_rows)
                groups, taken = [], 0
            groups.append(group)
            taken += size
        if groups:
            yield _Piece(self, tuple(groups), taken, batch_rows)


@dataclass(frozen=True)
class _Piece:
    """Row groups of a file, their bytes, and how many of their rows are in a batch at most."""

    file: _File
    groups: tuple[int, ...]
    size: int
    batch_rows: int

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        file = self.file
        rows = sum(file.metadata.row_group(group).num_rows for group in self.groups)
        width = max(1, self.size // max(1, rows))
        with (
            _readable(file.name),
            parquet.ParquetFile(file.path, filesystem=file.filesystem, metadata=file.metadata) as opened,
        ):
            yield from opened.iter_batches(max(1, min(self.batch_rows, BATCH_BYTES // width)), row_groups=self.groups)


def parquet_batches(place: Path | str, batch_rows: int) -> Iterator[pa.RecordBatch]:
    """Return the rows of a Parquet file, or of all Parquet files of a folder in the order of their names.

    At most `batch_rows` of them are in a batch.

    The files of a folder must have the same columns; those whose names begin with a dot or an underscore are none of
    the data, as in Spark and Arrow. A text is a URI.

    Raises:
        InputError: there are none, or they cannot be read.
    """
    filesystem, path = open_uri(place, "--data") if isinstance(place, str) else (fs.LocalFileSystem(), str(place))
    with _readable(str(place)):
        kind = filesystem.get_file_info(path).type
    if kind == fs.FileType.NotFound:
        raise InputError(f"there is no file {place}")
    if kind == fs.FileType.Directory:
        files = _files_of_folder(filesystem, path, str(place))
    elif path.endswith(".parquet"):
        files = [_file(filesystem, path, str(place))]
    else:
        raise InputError(f"{place} is neither a .parquet file nor a folder of such files")
    return read_ahead([piece for file in files for piece in file.pieces(batch_rows)])


def _files_of_folder(filesystem: fs.FileSystem, path: str, place: str) -> list[_File]:
    with _readable(place):
        found = filesystem.get_file_info(fs.FileSelector(path))
    entries = sorted((e for e in found if not e.base_name.startswith((".", "_"))), key=lambda entry: entry.base_name)
    for entry in entries:
        if not entry.base_name.endswith(".parquet") or entry.type != fs.FileType.File:
            raise InputError(f"{place} may hold Parquet files only, and not {entry.base_name!r}")
    if not entries:
        raise InputError(f"{place} is a folder without Parquet files")
    with ThreadPoolExecutor(FOOTERS_AT_ONCE, "footers") as pool:
        files = list(pool.map(lambda e: _file(filesystem, e.path, child_uri(place, e.base_name)), entries))
    columns = [set(file.metadata.schema.to_arrow_schema().names) for file in files]
    for entry, names in zip(entries, columns, strict=True):
        different = sorted(names ^ columns[0])
        if different:
            pair = (entry.base_name, entries[0].base_name)
            with_it, without = pair if different[0] in names else pair[::-1]
            raise InputError(f"{place}: {with_it} has the column {different[0]!r}, and {without} has not")
    return files


def _file(filesystem: fs.FileSystem, path: str, name: str) -> _File:
    with _readable(name), parquet.ParquetFile(path, filesystem=filesystem) as opened:
        refuse_repeated_columns(name, opened.schema_arrow.names)
        return _File(filesystem, path, name, opened.metadata)


@contextmanager
def _readable(name: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(f"{name} cannot be read: {one_line(error)}") from error
