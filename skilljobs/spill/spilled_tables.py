"""Tables that are kept in a temporary file, because all of them do not fit in memory."""

from array import array
from collections.abc import Sequence

import pyarrow as pa

from skilljobs.spill.temporary_file import TemporaryFile

IN_MEMORY = 32 << 20
"""Bytes up to which nothing is written to the disk."""
_OPTIONS = pa.ipc.IpcWriteOptions(compression="lz4")


class SpilledTables:
    """Tables in the order in which they are added."""

    def __init__(self) -> None:
        self._file = TemporaryFile(IN_MEMORY)
        self._places = array("q", [0])

    def __len__(self) -> int:
        return len(self._places) - 1

    @property
    def size(self) -> int:
        """Bytes of all tables, compressed."""
        return self._file.size

    def add(self, table: pa.Table) -> int:
        """Add a table. Returns its number."""
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema, options=_OPTIONS) as writer:
            writer.write_table(table)
        data = memoryview(sink.getvalue())
        self._places.append(self._file.append(data) + len(data))
        return len(self) - 1

    def read(self, number: int) -> pa.Table:
        """The table with a number."""
        start, stop = self._places[number : number + 2]
        return pa.ipc.open_stream(pa.py_buffer(self._file.read(start, stop - start))).read_all()

    def joined(self, numbers: Sequence[int]) -> list[pa.Table]:
        """The tables with these numbers, those of one schema that follow each other as one."""
        joined: list[list[pa.Table]] = []
        for table in map(self.read, numbers):
            if joined and joined[-1][0].schema.equals(table.schema, check_metadata=True):
                joined[-1].append(table)
            else:
                joined.append([table])
        return [pa.concat_tables(tables).combine_chunks() for tables in joined]
