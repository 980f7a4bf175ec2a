"""Finds the rows whose id is taken or whose unit is in another split, among more rows than can be held.

Equal texts have equal hashes, so that rows without an equal hash conflict with none. Only the others are read again and
compared as texts: two texts of one hash are told apart.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skilljobs.plan.row_sets import RowSet
from skilljobs.spill.buckets import Buckets, bucket_of_hash
from skilljobs.spill.spilled_column import SpilledColumn
from skilljobs.tasks.base import SPLITS
from skilljobs.tasks.example_chunks import Chunk

LocatedChunks = Callable[[RowSet], Iterator[tuple[int, int, Chunk]]]
"""The chunks that hold any of some rows, each with the number of its source and the place of its first row."""
Hashes = NDArray[np.uint64]
HASHES_AT_A_TIME = 1 << 18
"""About so many different ones are compared at a time."""


@dataclass(frozen=True)
class _Different:
    """Some different hashes: in how many rows each is, and the first and the last of the splits there."""

    hashes: Hashes
    rows: NDArray[np.int64]
    first_split: NDArray[np.int8]
    last_split: NDArray[np.int8]

    @classmethod
    def of(
        cls, hashes: Hashes, rows: NDArray[np.int64], first: NDArray[np.int8], last: NDArray[np.int8]
    ) -> "_Different":
        """Of rows, or of other such hashes, in which one may be there several times."""
        order = np.argsort(hashes, kind="stable")
        ordered = hashes[order]
        starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]) if len(order) else np.zeros(0, np.int64)
        if not len(starts):
            return cls(hashes, rows, first, last)
        return cls(
            ordered[starts],
            np.add.reduceat(rows[order], starts),
            np.minimum.reduceat(first[order], starts),
            np.maximum.reduceat(last[order], starts),
        )


class ConflictFinder:
    """The hashes of ids and units of all rows in their order, and their splits."""

    def __init__(self) -> None:
        self._ids = SpilledColumn(np.uint64)
        self._units = self._ids
        """The same column as long as each row is a unit of its own."""
        self.splits = SpilledColumn(np.int8)
        """The split of each row, as an index of `SPLITS`."""

    def add(self, chunk: Chunk) -> None:
        """Add the rows of a chunk."""
        if self._units is self._ids and chunk.unit_hashes is not chunk.id_hashes:
            self._units = SpilledColumn.of(np.uint64, (block for _, block in self._ids.blocks()))
        if self._units is not self._ids:
            self._units.append(chunk.unit_hashes)
        self._ids.append(chunk.id_hashes)
        self.splits.append(chunk.splits)

    def conflicts(self, located_chunks: LocatedChunks) -> Iterator[tuple[int, int, int, str]]:
        """Each row in conflict with an earlier one: its place, its number in its source, that source, and the reason.

        A row is compared with earlier rows that are themselves not in conflict.
        """
        first_of_id: dict[str, int] = {}
        split_of_unit: dict[str, tuple[int, int]] = {}
        for row, number, source, (example_id, unit, split) in _rows_of(self._suspects(), located_chunks):
            if example_id in first_of_id:
                yield row, number, source, f"its example_id {example_id!r} is that of row {first_of_id[example_id]}"
                continue
            first_split, first = split_of_unit.setdefault(unit, (split, number))
            if first_split != split:
                there = f"{SPLITS[first_split]} in row {first}"
                yield row, number, source, f"its unit {unit!r} is in {SPLITS[split]} here and in {there}"
                continue
            first_of_id[example_id] = number

    def _suspects(self) -> NDArray[np.int64]:
        """All rows that share the hash of their id with another one, or that of their unit with one of another split.

        No other row decides about them, and they decide about no other one.
        """
        found = _among(self._ids, [of.hashes[of.rows > 1] for of in self._different(self._ids)])
        if self._units is self._ids:
            return found
        mixed = [of.hashes[of.first_split != of.last_split] for of in self._different(self._units)]
        return np.union1d(found, _among(self._units, mixed))

    def _different(self, column: SpilledColumn[np.uint64], rows: RowSet | None = None) -> Iterator[_Different]:
        """The different hashes of a column, or of some of its rows, some at a time."""
        buckets = Buckets(max(1, -(-len(column) // HASHES_AT_A_TIME)), np.uint64, np.int64, np.int8, np.int8)
        for start, block in column.blocks():
            splits = self.splits[start : start + len(block)]
            if rows is not None:
                places = rows.within(start, start + len(block))
                block, splits = block[places], splits[places]
            of = _Different.of(block, np.ones(len(block), np.int64), splits, splits)
            buckets.add(bucket_of_hash(of.hashes, len(buckets)), of.hashes, of.rows, of.first_split, of.last_split)
        for bucket in range(len(buckets)):
            yield _Different.of(*buckets.read(bucket))

    def units_repeat(self, rows: RowSet, located_chunks: LocatedChunks) -> bool:
        """Whether some of `rows` share a unit."""
        for of in self._different(self._units, rows):
            alike = _among(self._units, [of.hashes[of.rows > 1]], rows)
            seen: set[str] = set()
            for _, _, _, (_, unit, _) in _rows_of(alike, located_chunks):
                if unit in seen:
                    return True
                seen.add(unit)
        return False


def _among(column: SpilledColumn[np.uint64], hashes: list[Hashes], rows: RowSet | None = None) -> NDArray[np.int64]:
    """The rows, or those of `rows`, whose hash is one of `hashes`."""
    wanted = np.sort(np.concatenate([np.zeros(0, np.uint64), *hashes]))
    found = [np.zeros(0, np.int64)]
    for start, block in column.blocks() if len(wanted) else ():
        nearest = np.minimum(np.searchsorted(wanted, block), len(wanted) - 1)
        places = np.flatnonzero(wanted[nearest] == block)
        if rows is not None:
            places = np.intersect1d(places, rows.within(start, start + len(block)), assume_unique=True)
        found.append(start + places)
    return np.concatenate(found)


def _rows_of(
    rows: NDArray[np.int64], located_chunks: LocatedChunks
) -> Iterator[tuple[int, int, int, tuple[str, str, int]]]:
    """Place, number and source of each of `rows`, with its id, unit and split."""
    wanted = RowSet.of(rows)
    for source, start, chunk in located_chunks(wanted) if len(rows) else ():
        places = wanted.within(start, start + len(chunk))
        mine = chunk.take(places)
        columns = (mine.numbers, mine.ids(), mine.strings("unit"), mine.splits.tolist())
        for place, (number, *parts) in zip(places.tolist(), zip(*columns, strict=True), strict=True):
            yield start + place, number, source, tuple(parts)
