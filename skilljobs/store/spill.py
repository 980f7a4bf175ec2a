"""Tables that are kept in a temporary file, because all of them do not fit in memory."""

import tempfile
import threading
import weakref
from collections.abc import Sequence

import pyarrow as pa

from skilljobs.errors import InputError

IN_MEMORY = 32 << 20
"""Bytes up to which nothing is written to the disk."""
_OPTIONS = pa.ipc.IpcWriteOptions(compression="lz4")


class Spill:
    """Tables in the order in which they are added.

    They are in a file without a name in the folder for temporary files (`TMPDIR`), which is gone when the process ends,
    however it ends.
    """

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115
        weakref.finalize(self, self._file.close)
        self._places: list[tuple[int, int]] = []
        self._end = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._places)

    @property
    def size(self) -> int:
        """Bytes of all tables, compressed."""
        return self._end

    def add(self, table: pa.Table) -> int:
        """Add a table. Returns its number."""
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema, options=_OPTIONS) as writer:
            writer.write_table(table)
        data = sink.getvalue()
        with self._lock:
            try:
                self._file.seek(self._end)
                self._file.write(memoryview(data))
            except OSError as error:
                where = f"the folder for temporary files, {tempfile.gettempdir()} (TMPDIR names another one)"
                raise InputError(f"the rows of the data cannot be kept in {where}: {error}") from error
            self._places.append((self._end, data.size))
            self._end += data.size
            return len(self._places) - 1

    def read(self, number: int) -> pa.Table:
        """The table with a number."""
        start, size = self._places[number]
        with self._lock:
            self._file.seek(start)
            data = self._file.read(size)
        return pa.ipc.open_stream(pa.py_buffer(data)).read_all()

    def joined(self, numbers: Sequence[int]) -> list[pa.Table]:
        """The tables with these numbers, those of one schema that follow each other as one."""
        joined: list[list[pa.Table]] = []
        for table in map(self.read, numbers):
            if joined and joined[-1][0].schema.equals(table.schema, check_metadata=True):
                joined[-1].append(table)
            else:
                joined.append([table])
        return [pa.concat_tables(tables).combine_chunks() for tables in joined]
