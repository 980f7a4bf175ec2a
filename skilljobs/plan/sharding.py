"""Which test examples are evaluated, and in which shard. Examples are numbers of rows here."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skilljobs.plan.row_reader import RowReader
from skilljobs.plan.row_sets import RowSet
from skilljobs.plan.strata import Strata
from skilljobs.spill.buckets import HashOrder
from skilljobs.spill.spilled_column import SpilledColumn
from skilljobs.tasks.example_chunks import hashes
from skilljobs.tasks.external_columns import ExternalColumn

MOST_SHARDS = 1024
SHARDS_BY_DEFAULT = 16
SMALLEST_SHARD, LARGEST_SHARD = 32, 4096
FEWEST_TUNING = {"train": 128, "validation": 32}
"""With a small `--limit`, at least so many examples of each split are tuned on, if there are as many."""
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Sample:
    """Rows in the order in which they were drawn."""

    rows: RowSet | SpilledColumn[np.int64]
    """A set if they are all that there were to draw from, in their own order."""

    def __len__(self) -> int:
        return len(self.rows)

    def blocks(self) -> Iterator[Rows]:
        """The rows, some at a time."""
        return self.rows.blocks() if isinstance(self.rows, RowSet) else (rows for _, rows in self.rows.blocks())

    def located(self, first: int = 0) -> Iterator[tuple[Rows, NDArray[np.int32]]]:
        """Rows and their places in the order, the first one at `first`, some at a time."""
        for rows in self.blocks():
            yield rows, np.arange(first, first + len(rows), dtype=np.int32)
            first += len(rows)


def sample(reader: RowReader, rows: RowSet, limit: int | None, stratum: ExternalColumn | None, seed: int) -> Sample:
    """`limit` of the examples `rows`, drawn by seed; each value of the column `stratum` keeps its share.

    A sample is ordered by value, and then by the hash that it is drawn by.
    """
    if limit is None or limit >= len(rows):
        return Sample(rows)
    strata = Strata(reader, rows, stratum, seed)
    quota = {name: limit * size / len(rows) for name, size in strata.sizes.items()}
    taken = {name: int(share) for name, share in quota.items()}
    by_remainder = sorted(quota, key=lambda name: (taken[name] - quota[name], name))
    for name in by_remainder[: limit - sum(taken.values())]:
        taken[name] += 1
    return Sample(strata.first(taken))


def tuning_sample(reader: RowReader, share: float, stratum: ExternalColumn | None, seed: int) -> tuple[Sample, Sample]:
    """The train and the validation examples that stand to all of them as `share`, but no fewer than `FEWEST_TUNING`."""
    drawn = []
    for split, fewest in FEWEST_TUNING.items():
        members = reader.rows_of(split)
        drawn.append(sample(reader, members, max(fewest, round(share * len(members))), stratum, seed))
    return drawn[0], drawn[1]


class ShardOrder:
    """The order of test examples in shards: slices of each half, which take turns.

    Within its half, each example has a number.
    """

    def __init__(self, counts: Sequence[int], shard_size: int) -> None:
        """`counts`: the examples of each half."""
        turns = sorted((turn, half) for half, count in enumerate(counts) for turn in range(-(-count // shard_size)))
        self.sizes = [min(shard_size, counts[half] - turn * shard_size) for turn, half in turns]
        """The examples of each shard."""
        self._starts = np.cumsum([0, *self.sizes])
        self._halves = np.array([half for _, half in turns], np.int64)
        self._firsts = np.array([turn * shard_size for turn, _ in turns], np.int64)
        """The number of the first example of each shard."""
        self._shard_of_turn = np.zeros((2, len(turns)), np.int64)
        """Of each half; a half that has no such turn has 0 there."""
        for shard, (turn, half) in enumerate(turns):
            self._shard_of_turn[half, turn] = shard
        self._shard_size = shard_size

    def places(self, halves: NDArray[np.int64] | int, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """The places of examples by their halves, or the half of all, and their numbers."""
        turns, behind = np.divmod(numbers, self._shard_size)
        return np.asarray(self._starts[self._shard_of_turn[halves, turns]] + behind)

    def numbers(self, places: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The halves of the examples at `places`, and their numbers."""
        shards = np.searchsorted(self._starts, places, side="right") - 1
        return self._halves[shards], self._firsts[shards] + places - self._starts[shards]


@dataclass(frozen=True)
class Sharding:
    """Test examples cut into shards: those of each half in an order drawn by seed."""

    halves: tuple[HashOrder, HashOrder]
    order: ShardOrder

    def located(self, first: int = 0) -> Iterator[tuple[Rows, NDArray[np.int32]]]:
        """Rows and their places in the order of the shards, the first one at `first`, some at a time."""
        for half, members in enumerate(self.halves):
            done = 0
            for (rows,) in members.blocks():
                places = first + self.order.places(half, np.arange(done, done + len(rows)))
                yield rows, places.astype(np.int32)
                done += len(rows)


def shard_examples(reader: RowReader, test: RowSet, shard_size: int | None, seed: int) -> Sharding:
    """Cut `test` into slices of at most `shard_size` examples, permuted by seed, each of one half."""
    size = shard_size or min(LARGEST_SHARD, max(SMALLEST_SHARD, -(-len(test) // SHARDS_BY_DEFAULT)))
    size = max(size, -(-len(test) // (MOST_SHARDS - 1)))
    halves = HashOrder(len(test), np.int64), HashOrder(len(test), np.int64)
    for places, chunk in reader.numbered_chunks(test):
        half_of_each, order_of_each = chunk.halves, hashes(chunk.ids(), "order", seed)
        for half, members in enumerate(halves):
            mine = half_of_each == half
            members.add(order_of_each[mine], places[mine])
    return Sharding(halves, ShardOrder([half.size for half in halves], size))
