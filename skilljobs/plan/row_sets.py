"""Sets of rows, which are not held: each tells which of its rows are in a range."""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from skilljobs.spill.spilled_column import BLOCK_ROWS, SpilledColumn

Places = NDArray[np.int64]


class RowSet:
    """Some of the rows that were read, in their order. Which they are must not change."""

    def __init__(self, within: Callable[[int, int], Places], stop: int) -> None:
        """`within` tells the rows from one row to before another one, as their places behind the first.

        No row of the set is from `stop` on.
        """
        self.within = within
        self._stop = stop
        self._size = sum(len(within(*bounds)) for bounds in self._ranges())

    @classmethod
    def of(cls, rows: Places) -> "RowSet":
        """The set of `rows` (sorted)."""

        def within(start: int, stop: int) -> Places:
            first, last = np.searchsorted(rows, (start, stop))
            return rows[first:last] - start

        return cls(within, int(rows[-1]) + 1 if len(rows) else 0)

    @classmethod
    def where(cls, ranks: SpilledColumn[np.int32]) -> "RowSet":
        """The set of the rows that have a rank: no negative number."""
        return cls(lambda start, stop: np.flatnonzero(ranks[start:stop] >= 0), len(ranks))

    def __len__(self) -> int:
        return self._size

    def located(self) -> Iterator[tuple[int, Places]]:
        """The rows some at a time, as their places behind a first row, and that row."""
        for start, stop in self._ranges():
            yield start, self.within(start, stop)

    def blocks(self) -> Iterator[Places]:
        """The rows, some at a time."""
        for start, places in self.located():
            yield start + places

    def _ranges(self) -> Iterator[tuple[int, int]]:
        for start in range(0, self._stop, BLOCK_ROWS):
            yield start, min(start + BLOCK_ROWS, self._stop)
