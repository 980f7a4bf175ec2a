"""Draws from the rows with each value of a column, by a hash of each row's id."""

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from skilljobs.plan.row_reader import RowReader
from skilljobs.plan.row_sets import RowSet
from skilljobs.spill.buckets import HashOrder, in_places
from skilljobs.spill.spilled_column import SpilledColumn
from skilljobs.tasks.example_chunks import hashes
from skilljobs.tasks.external_columns import ExternalColumn

Rows = NDArray[np.int64]


class Strata:
    """The rows with each value of a column, which is written as text; all rows are one stratum without a column."""

    def __init__(self, reader: RowReader, rows: RowSet, column: ExternalColumn | None, seed: int) -> None:
        self.sizes: dict[str, int] = {}
        """How many rows each has, in the order of their first appearance."""
        self._rows = HashOrder(len(rows), np.int32, np.int64)
        codes: dict[str, int] = {}
        for places, chunk in reader.numbered_chunks(rows):
            members: dict[str, list[int]] = {}
            for place, name in enumerate([""] * len(chunk) if column is None else map(str, chunk.values(column))):
                members.setdefault(name, []).append(place)
            ids = chunk.ids()
            for name, mine in members.items():
                code = codes.setdefault(name, len(codes))
                self.sizes[name] = self.sizes.get(name, 0) + len(mine)
                of_each = hashes([ids[place] for place in mine], "limit", seed, name)
                self._rows.add(of_each, np.full(len(mine), code, np.int32), places[mine])

    def first(self, counts: Mapping[str, int]) -> SpilledColumn[np.int64]:
        """The first rows of each stratum in the order of their hashes, as many as `counts` says, after each other."""
        wanted = np.array([counts[name] for name in self.sizes], np.int64)
        return in_places(self._placed(wanted), int(wanted.sum()), np.int64, -1)

    def _placed(self, wanted: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], Rows]]:
        """Rows of the strata, and their places: each stratum has as many as are `wanted` of it."""
        starts = np.cumsum(wanted) - wanted
        seen = np.zeros_like(wanted)
        for codes, rows in self._rows.blocks():
            by_code = np.argsort(codes, kind="stable")
            ordered = codes[by_code]
            ranks = np.arange(len(ordered)) - np.searchsorted(ordered, ordered) + seen[ordered]
            is_drawn = ranks < wanted[ordered]
            yield (starts[ordered] + ranks)[is_drawn], rows[by_code][is_drawn]
            seen += np.bincount(codes, minlength=len(seen))
