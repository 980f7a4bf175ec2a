"""A temporary file for what does not fit in memory."""

import tempfile
import threading
import weakref

from skilljobs.errors import InputError


class TemporaryFile:
    """Bytes in a file without a name in the folder for temporary files (`TMPDIR`), in memory as long as they are few.

    The file is gone when the process ends, however it ends.
    """

    def __init__(self, in_memory: int) -> None:
        """Nothing is written to the disk up to `in_memory` bytes."""
        self._file = tempfile.SpooledTemporaryFile(max_size=in_memory)  # noqa: SIM115
        weakref.finalize(self, self._file.close)
        self._lock = threading.Lock()
        self.size = 0

    def append(self, data: bytes | memoryview) -> int:
        """Write `data` behind what is there. Returns its place."""
        with self._lock:
            place = self.size
            self._write(place, data)
            self.size += memoryview(data).nbytes
            return place

    def overwrite(self, place: int, data: bytes | memoryview) -> None:
        """Write `data` over what is at `place`."""
        with self._lock:
            self._write(place, data)

    def read(self, place: int, size: int) -> bytes:
        """The `size` bytes at `place`."""
        with self._lock:
            self._file.seek(place)
            return self._file.read(size)

    def _write(self, place: int, data: bytes | memoryview) -> None:
        try:
            self._file.seek(place)
            self._file.write(data)
        except OSError as error:
            where = f"the folder for temporary files, {tempfile.gettempdir()} (TMPDIR names another one)"
            raise InputError(f"the rows of the data cannot be kept in {where}: {error}") from error
