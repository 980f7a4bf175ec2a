"""Puts more numbers in order, or in their places, than fit in memory: bucket by bucket."""

from array import array
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from skilljobs.spill.spilled_column import SpilledColumn
from skilljobs.spill.temporary_file import TemporaryFile

BUCKET_ROWS = 1 << 18
"""About so many are put in order at a time."""
BUFFERED_ROWS = 1 << 17
"""So many wait to be distributed together, as pieces of a few rows would be slow."""
Array = NDArray[Any]
T = TypeVar("T", bound=np.generic)


class Buckets:
    """Rows of several numbers, distributed over buckets, of which one is read at a time.

    Rows of a bucket come back in the order in which they were added.
    """

    def __init__(self, count: int, *kinds: type[np.generic], file: TemporaryFile | None = None) -> None:
        """`count`: of buckets. `kinds`: the types of the numbers of a row. Several may share a `file`."""
        assert count <= 1 << 16
        self._kinds = [np.dtype(kind) for kind in kinds]
        self._file = file or TemporaryFile()
        self._pieces = [array("q") for _ in range(count)]
        """Of each bucket: a place in the file, and how many rows are there, again and again."""
        self._waiting: list[tuple[Array, ...]] = []
        self._rows_waiting = 0

    def __len__(self) -> int:
        return len(self._pieces)

    def add(self, buckets: Array, *columns: Array) -> None:
        """Add rows: the bucket of each, and its numbers."""
        self._waiting.append((buckets.astype(np.uint16), *columns))
        self._rows_waiting += len(buckets)
        if self._rows_waiting >= BUFFERED_ROWS:
            self._distribute()

    def read(self, bucket: int) -> list[Array]:
        """The rows of a bucket, column by column."""
        self._distribute()
        found: list[list[Array]] = [[np.empty(0, kind)] for kind in self._kinds]
        pieces = self._pieces[bucket]
        for place, rows in zip(pieces[::2], pieces[1::2], strict=True):
            for column, kind in zip(found, self._kinds, strict=True):
                column.append(np.frombuffer(self._file.read(place, rows * kind.itemsize), kind))
                place += rows * kind.itemsize
        return [np.concatenate(column) for column in found]

    def _distribute(self) -> None:
        if not self._rows_waiting:
            return
        buckets, *columns = (np.concatenate(parts) for parts in zip(*self._waiting, strict=True))
        self._waiting, self._rows_waiting = [], 0
        order, slices = by_bucket(buckets, len(self))
        ordered = [column[order].astype(kind) for column, kind in zip(columns, self._kinds, strict=True)]
        for bucket, start, stop in slices:
            data = b"".join(column[start:stop].tobytes() for column in ordered)
            self._pieces[bucket].extend((self._file.append(data), stop - start))


class HashOrder:
    """Rows of numbers in the order of their 64-bit hashes; those of one hash in the order in which they were added."""

    def __init__(self, most: int, *kinds: type[np.generic]) -> None:
        """`most`: at most so many will be added. `kinds`: the types of the numbers of a row."""
        self._buckets = Buckets(_buckets_for(most), np.uint64, *kinds)
        self.size = 0

    def add(self, hashes: NDArray[np.uint64], *columns: Array) -> None:
        """Add rows: the hash of each, and its numbers."""
        self.size += len(hashes)
        self._buckets.add(bucket_of_hash(hashes, len(self._buckets)), hashes, *columns)

    def blocks(self) -> Iterator[list[Array]]:
        """The rows in order, some at a time, column by column."""
        for bucket in range(len(self._buckets)):
            hashes, *columns = self._buckets.read(bucket)
            order = np.argsort(hashes, kind="stable")
            yield [column[order] for column in columns]


class HashCounter:
    """Counts different 64-bit hashes."""

    _BUCKETS = 64

    def __init__(self, file: TemporaryFile) -> None:
        """Several may share a `file`."""
        self._buckets = Buckets(self._BUCKETS, np.uint64, file=file)

    def add(self, hashes: NDArray[np.uint64]) -> None:
        """Add hashes, some of which may have been added before."""
        self._buckets.add(bucket_of_hash(hashes, self._BUCKETS), hashes)

    @property
    def different(self) -> int:
        """How many different ones were added."""
        return sum(len(np.unique(self._buckets.read(bucket)[0])) for bucket in range(self._BUCKETS))


def by_bucket(buckets: Array, count: int) -> tuple[NDArray[np.int64], list[tuple[int, int, int]]]:
    """The order that puts rows together whose number in `buckets` is the same, and each bucket with its slice of it.

    `count`: of buckets; those without a row are left out.
    """
    order = np.argsort(buckets, kind="stable")
    bounds = np.searchsorted(buckets[order], np.arange(count + 1)).tolist()
    slices = [(bucket, *bounds[bucket : bucket + 2]) for bucket in range(count)]
    return order, [(bucket, start, stop) for bucket, start, stop in slices if start < stop]


def bucket_of_hash(hashes: NDArray[np.uint64], count: int) -> NDArray[np.uint64]:
    """The bucket of each 64-bit hash; a larger hash is in no earlier bucket."""
    return np.asarray((hashes >> np.uint64(32)) * np.uint64(count) >> np.uint64(32))


def in_places(
    blocks: Iterable[tuple[NDArray[np.int64], NDArray[T]]],
    size: int,
    kind: type[T],
    missing: Any,
    file: TemporaryFile | None = None,
) -> SpilledColumn[T]:
    """The column of `size` numbers that has at its places what `blocks` give for them, and `missing` elsewhere.

    `blocks`: places, and the number of each. Several columns may share a `file`.
    """
    buckets = Buckets(_buckets_for(size), np.int64, kind)
    rows = -(-size // len(buckets))
    for places, numbers in blocks:
        buckets.add(places // max(1, rows), places, numbers)
    column = SpilledColumn(kind, file)
    for bucket in range(len(buckets)):
        start = bucket * rows
        part = np.full(max(0, min(rows, size - start)), missing, kind)
        places, numbers = buckets.read(bucket)
        part[places - start] = numbers
        column.append(part)
    return column


def _buckets_for(rows: int) -> int:
    return max(1, -(-rows // BUCKET_ROWS))
