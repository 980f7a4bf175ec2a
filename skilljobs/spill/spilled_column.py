"""One number for each of many rows, kept in a temporary file where they are too many for memory."""

from array import array
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from skilljobs.spill.temporary_file import TemporaryFile

EXTENT_BYTES = 64 << 10
"""What a column writes at a time; so much of it is in memory."""
BLOCK_ROWS = 1 << 17
T = TypeVar("T", bound=np.generic)


class SpilledColumn(Generic[T]):
    """Numbers of one type in the order in which they are appended. A slice of them is an array.

    Several columns may share a `file`.
    """

    def __init__(self, kind: type[T], file: TemporaryFile | None = None) -> None:
        self._kind: np.dtype[T] = np.dtype(kind)
        self._file = file or TemporaryFile()
        self._extent = EXTENT_BYTES // self._kind.itemsize
        self._places = array("q")
        self._rest: NDArray[T] = np.empty(self._extent, self._kind)
        self._size = 0

    @classmethod
    def of(cls, kind: type[T], blocks: Iterable[NDArray[T]]) -> "SpilledColumn[T]":
        """The column of all numbers of `blocks`."""
        column = cls(kind)
        for block in blocks:
            column.append(block)
        return column

    def __len__(self) -> int:
        return self._size

    def append(self, values: NDArray[T]) -> None:
        """Add numbers behind those that are there."""
        while len(values):
            used = self._size % self._extent
            taken = values[: self._extent - used]
            self._rest[used : used + len(taken)] = taken
            self._size += len(taken)
            if used + len(taken) == self._extent:
                self._places.append(self._file.append(self._rest.tobytes()))
            values = values[len(taken) :]

    def __getitem__(self, rows: slice) -> NDArray[T]:
        start, stop, step = rows.indices(self._size)
        assert step == 1, "a column is read in one piece"
        parts = [self._within(extent, start, stop) for extent in self._extents(start, stop)]
        return np.concatenate(parts) if parts else np.empty(0, self._kind)

    def __setitem__(self, rows: slice, values: NDArray[T]) -> None:
        start, stop, _ = rows.indices(self._size)
        for extent in self._extents(start, stop):
            first, last = self._bounds(extent, start, stop)
            offset = extent * self._extent
            mine = np.asarray(values[first - start : last - start], self._kind)
            if extent < len(self._places):
                place = self._places[extent] + (first - offset) * self._kind.itemsize
                self._file.overwrite(place, mine.tobytes())
            else:
                self._rest[first - offset : last - offset] = mine

    def blocks(self) -> Iterator[tuple[int, NDArray[T]]]:
        """All numbers, some at a time, each time with the place of the first."""
        for start in range(0, self._size, BLOCK_ROWS):
            yield start, self[start : start + BLOCK_ROWS]

    def _extents(self, start: int, stop: int) -> range:
        return range(start // self._extent, -(-stop // self._extent) if stop > start else start // self._extent)

    def _bounds(self, extent: int, start: int, stop: int) -> tuple[int, int]:
        """The numbers from `start` to before `stop` that are in an extent."""
        return max(start, extent * self._extent), min(stop, (extent + 1) * self._extent)

    def _within(self, extent: int, start: int, stop: int) -> NDArray[T]:
        first, last = self._bounds(extent, start, stop)
        offset, width = extent * self._extent, self._kind.itemsize
        if extent == len(self._places):
            return self._rest[first - offset : last - offset].copy()
        data = self._file.read(self._places[extent] + (first - offset) * width, (last - first) * width)
        return np.frombuffer(data, self._kind)


def filled(size: int, value: T, kind: type[T]) -> SpilledColumn[T]:
    """The column of `size` numbers that are all `value`."""
    lengths = (min(BLOCK_ROWS, size - start) for start in range(0, size, BLOCK_ROWS))
    return SpilledColumn.of(kind, (np.full(length, value, kind) for length in lengths))


def named_columns(names: Iterable[str], kind: type[T]) -> dict[str, SpilledColumn[T]]:
    """A column for each name, all in one file."""
    file = TemporaryFile()
    return {name: SpilledColumn(kind, file) for name in names}
