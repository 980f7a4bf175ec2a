"""A temporary file for what does not fit in memory."""

import tempfile
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

from skilljobs.errors import InputError

IN_MEMORY = 4 << 20
"""Bytes up to which nothing is written to the disk."""


class TemporaryFile:
    """Bytes in a file without a name in the folder for temporary files (`TMPDIR`), in memory as long as they are few.

    The file is gone when the process ends, however it ends. What cannot be written or read raises an `InputError`.
    """

    def __init__(self, in_memory: int | None = None) -> None:
        """Nothing is written to the disk up to `in_memory` bytes, or `IN_MEMORY`."""
        self._file = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY if in_memory is None else in_memory)  # noqa: SIM115
        weakref.finalize(self, self._file.close)
        self._lock = threading.Lock()
        self.size = 0

    def append(self, data: bytes | memoryview) -> int:
        """Write `data` behind what is there. Returns its place."""
        with self._at() as place:
            self._file.write(data)
            self.size = place + len(data)
        return place

    def overwrite(self, place: int, data: bytes | memoryview) -> None:
        """Write `data` over what is at `place`."""
        with self._at(place):
            self._file.write(data)

    def read(self, place: int, size: int) -> bytes:
        """The `size` bytes at `place`."""
        with self._at(place):
            data = self._file.read(size)
            if len(data) < size:
                raise OSError(f"{size - len(data)} bytes are missing")
        return data

    @contextmanager
    def _at(self, place: int | None = None) -> Iterator[int]:
        """The place, the end by default, at which nobody else reads or writes meanwhile."""
        with self._lock:
            try:
                place = self.size if place is None else place
                self._file.seek(place)  # which may write what waits in a buffer
                yield place
            except OSError as error:
                where = f"the folder for temporary files, {tempfile.gettempdir()} (TMPDIR names another one)"
                raise InputError(f"the rows of the data cannot be kept in {where}: {error}") from error
