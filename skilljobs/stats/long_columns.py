"""Sums and order statistics of more values than fit in memory: those that NumPy gives of an array, to the bit."""

from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from skilljobs.spill.buckets import Buckets
from skilljobs.spill.spilled_column import SpilledColumn

Array = NDArray[np.float64]
PART_ROWS = 1 << 17
"""About so many values are held at a time."""
LOOKED_AT = 64
"""Values of each part, by which buckets are made that hold about as many."""


class Column(Protocol):
    """Values that are read slice by slice: an array, or a column in a file."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice, /) -> Array: ...


def parts_of(column: Column) -> Iterator[Array]:
    """The values of a column, some at a time."""
    for start in range(0, len(column), PART_ROWS):
        yield column[start : start + PART_ROWS]


def present(column: Column) -> Column:
    """The values that are not NaN."""
    if len(column) <= PART_ROWS:
        values = column[:]
        return values[~np.isnan(values)]
    return SpilledColumn.of(np.float64, (part[~np.isnan(part)] for part in parts_of(column)))


def total(column: Column, of: Callable[[Array], Array] = np.asarray) -> float:
    """The sum over `of` each value, which must not depend on the others.

    It is rounded as by `np.sum` of them in one array, which halves the array until a part is short: pairwise summation.
    """
    return _total(column, of, 0, len(column))


def _total(column: Column, of: Callable[[Array], Array], start: int, stop: int) -> float:
    size = stop - start
    if size <= PART_ROWS:
        return float(np.sum(of(column[start:stop])))
    half = size // 2
    half -= half % 8
    return _total(column, of, start, start + half) + _total(column, of, start + half, stop)


def order_statistics(column: Column, ranks: NDArray[np.int64]) -> Array:
    """The values that have `ranks` (ascending, from 0) in the order of all values, none of which is NaN.

    The sign of a zero is not kept.
    """
    if len(column) <= PART_ROWS:
        return np.sort(column[:])[ranks]
    random = np.random.default_rng(0)  # at regular distances, values may be alike
    looked_at = np.sort(np.concatenate([random.choice(part, LOOKED_AT) for part in parts_of(column)]))
    bounds = np.unique(looked_at[::LOOKED_AT])
    different = Buckets(len(bounds) + 1, np.float64, np.int64)
    for part in parts_of(column):
        values, counts = np.unique(part, return_counts=True)
        different.add(np.searchsorted(bounds, values, side="right"), values, counts)
    found = [np.zeros(0)]
    before = 0
    for bucket in range(len(different)):
        values, counts = different.read(bucket)
        order = np.argsort(values, kind="stable")
        ends = before + np.cumsum(counts[order])
        mine = ranks[(ranks >= before) & (ranks < ends[-1])] if len(ends) else ranks[:0]
        found.append(values[order][np.searchsorted(ends, mine, side="right")])
        before = int(ends[-1]) if len(ends) else before
    return np.concatenate(found)
