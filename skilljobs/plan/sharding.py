"""Which test examples are evaluated, and in which shard. Examples are numbers of rows here."""

import numpy as np
from numpy.typing import NDArray

from skilljobs.plan.row_reader import RowReader, RowView
from skilljobs.tasks.external_columns import ExternalColumn

MOST_SHARDS = 1024
SHARDS_BY_DEFAULT = 16
SMALLEST_SHARD, LARGEST_SHARD = 32, 4096
FEWEST_TUNING = {"train": 128, "validation": 32}
"""With a small `--limit`, at least so many examples of each split are tuned on, if there are as many."""
Rows = NDArray[np.int64]


def sample(reader: RowReader, rows: Rows, limit: int | None, stratum: ExternalColumn | None, seed: int) -> Rows:
    """`limit` of the examples `rows` (sorted), drawn by seed; each value of the column `stratum` keeps its share.

    A sample is ordered by value, and then by the hash that it is drawn by.
    """
    if limit is None or limit >= len(rows):
        return rows
    strata = _strata(reader, rows, stratum)
    quota = {name: limit * len(members) / len(rows) for name, members in strata.items()}
    taken = {name: int(share) for name, share in quota.items()}
    by_remainder = sorted(quota, key=lambda name: (taken[name] - quota[name], name))
    for name in by_remainder[: limit - sum(taken.values())]:
        taken[name] += 1
    drawn = []
    for name, members in strata.items():
        order = np.argsort(reader.hashes(members, "limit", seed, name), kind="stable")
        drawn.append(members[order[: taken[name]]])
    return np.concatenate(drawn)


def _strata(reader: RowReader, rows: Rows, stratum: ExternalColumn | None) -> dict[str, Rows]:
    """The rows with each value of a column, in the order of their first appearance; all rows if there is no column."""
    if stratum is None:
        return {"": rows}
    codes: dict[str, int] = {}
    code_of_row = [
        np.array([codes.setdefault(str(value), len(codes)) for value in chunk.values(stratum)], np.int32)
        for chunk in RowView(reader, rows).blocks()
    ]
    code_of_each = np.concatenate(code_of_row)
    return {name: rows[code_of_each == code] for name, code in codes.items()}


def tuning_sample(reader: RowReader, share: float, stratum: ExternalColumn | None, seed: int) -> tuple[Rows, Rows]:
    """The train and the validation examples that stand to all of them as `share`, but no fewer than `FEWEST_TUNING`."""
    drawn = []
    for split, fewest in FEWEST_TUNING.items():
        members = reader.rows_of(split)
        drawn.append(sample(reader, members, max(fewest, round(share * len(members))), stratum, seed))
    return drawn[0], drawn[1]


def shard_examples(reader: RowReader, test: Rows, shard_size: int | None, seed: int) -> list[Rows]:
    """Slices of at most `shard_size` examples, permuted by seed, each of one half; the halves take turns."""
    size = shard_size or min(LARGEST_SHARD, max(SMALLEST_SHARD, -(-len(test) // SHARDS_BY_DEFAULT)))
    size = max(size, -(-len(test) // (MOST_SHARDS - 1)))
    in_rows = np.sort(test)
    places = np.searchsorted(in_rows, test)
    half_of_each, order_of_each = reader.halves(in_rows)[places], reader.hashes(in_rows, "order", seed)[places]
    halves: list[list[Rows]] = []
    for half in (0, 1):
        mine = np.flatnonzero(half_of_each == half)
        members = test[mine[np.argsort(order_of_each[mine], kind="stable")]]
        halves.append([members[start : start + size] for start in range(0, len(members), size)])
    longest = max(map(len, halves))
    return [shards[turn] for turn in range(longest) for shards in halves if turn < len(shards)]
