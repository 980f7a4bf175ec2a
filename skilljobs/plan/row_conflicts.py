"""Finds the rows whose id is taken or whose unit is in another split, among more rows than can be held.

Equal texts have equal hashes, so that rows without an equal hash conflict with none. Only the others are read again and
compared as texts: two texts of one hash are told apart.
"""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from skilljobs.tasks.base import SPLITS
from skilljobs.tasks.example_chunks import Chunk

LocatedChunks = Callable[[NDArray[np.int64]], Iterator[tuple[int, int, Chunk]]]
"""The chunks that hold any of some rows (sorted), each with the number of its source and the place of its first row."""
Hashes = NDArray[np.uint64]


class ConflictFinder:
    """The hashes of ids and units of all rows in their order, and their splits."""

    def __init__(self) -> None:
        self._ids: list[Hashes] = []
        self._units: list[Hashes] = []
        self._splits: list[NDArray[np.int8]] = []

    def add(self, chunk: Chunk) -> None:
        """Add the rows of a chunk."""
        self._ids.append(chunk.id_hashes)
        self._units.append(chunk.unit_hashes)
        self._splits.append(chunk.splits)

    @property
    def splits(self) -> NDArray[np.int8]:
        """The split of each row, as an index of `SPLITS`."""
        self._splits = [np.concatenate([np.zeros(0, np.int8), *self._splits])]
        return self._splits[0]

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
        if not self._ids:
            return np.zeros(0, np.int64)
        are_ids = all(units is ids for units, ids in zip(self._units, self._ids, strict=True))
        ids = np.concatenate(self._ids)
        suspects = np.isin(ids, _repeated(ids))
        if not are_ids:
            suspects |= self._in_several_splits()
        return np.flatnonzero(suspects)

    def _in_several_splits(self) -> NDArray[np.bool_]:
        units, splits = np.concatenate(self._units), self.splits
        order = np.argsort(units, kind="stable")
        starts = np.flatnonzero(np.r_[True, units[order][1:] != units[order][:-1]])
        in_order = splits[order]
        mixed = np.minimum.reduceat(in_order, starts) != np.maximum.reduceat(in_order, starts)
        return np.isin(units, units[order[starts[mixed]]])

    def units_repeat(self, rows: NDArray[np.int64], located_chunks: LocatedChunks) -> bool:
        """Whether some of `rows` (sorted) share a unit."""
        units = np.concatenate([np.zeros(0, np.uint64), *self._units])[rows]
        alike = rows[np.isin(units, _repeated(units))]
        seen: set[str] = set()
        for _, _, _, (_, unit, _) in _rows_of(alike, located_chunks):
            if unit in seen:
                return True
            seen.add(unit)
        return False


def _repeated(hashes: Hashes) -> Hashes:
    """The hashes that occur more than once."""
    ordered = np.sort(hashes)
    return np.unique(ordered[1:][ordered[1:] == ordered[:-1]])


def _rows_of(
    rows: NDArray[np.int64], located_chunks: LocatedChunks
) -> Iterator[tuple[int, int, int, tuple[str, str, int]]]:
    """Place, number and source of each of `rows`, with its id, unit and split."""
    for source, start, chunk in located_chunks(rows) if len(rows) else ():
        first, last = np.searchsorted(rows, (start, start + len(chunk)))
        mine = chunk.take(rows[first:last] - start)
        columns = (mine.numbers, mine.ids(), mine.strings("unit"), mine.splits.tolist())
        for row, (number, *parts) in zip(rows[first:last].tolist(), zip(*columns, strict=True), strict=True):
            yield row, number, source, tuple(parts)
