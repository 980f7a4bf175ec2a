"""Which test examples are evaluated, and in which shard."""

from collections import defaultdict
from collections.abc import Sequence

from skilljobs.hashing import stable_hash
from skilljobs.tasks.base import Example
from skilljobs.tasks.external_metrics import ExternalColumn

MOST_SHARDS = 1024
SHARDS_BY_DEFAULT = 16
SMALLEST_SHARD, LARGEST_SHARD = 32, 4096
FEWEST_TUNING = {"train": 128, "validation": 32}
"""With a small `--limit`, at least so many examples of each split are tuned on, if there are as many."""


def sample(test: list[Example], limit: int | None, stratum: ExternalColumn | None, seed: int) -> list[Example]:
    """`limit` of the examples, drawn by seed; each value of the column `stratum` keeps its share."""
    if limit is None or limit >= len(test):
        return test
    strata: dict[str, list[Example]] = defaultdict(list)
    for example in test:
        strata[str(stratum.value(example)) if stratum else ""].append(example)
    for name, members in strata.items():
        members.sort(key=lambda example: stable_hash("limit", seed, name, example.example_id))
    quota = {name: limit * len(members) / len(test) for name, members in strata.items()}
    taken = {name: int(share) for name, share in quota.items()}
    by_remainder = sorted(quota, key=lambda name: (taken[name] - quota[name], name))
    for name in by_remainder[: limit - sum(taken.values())]:
        taken[name] += 1
    return [example for name, members in strata.items() for example in members[: taken[name]]]


def tuning_sample(
    tuning: Sequence[Example], share: float, stratum: ExternalColumn | None, seed: int
) -> tuple[list[Example], list[Example]]:
    """The train and the validation examples that stand to all of them as `share`, but no fewer than `FEWEST_TUNING`."""
    drawn = []
    for split, fewest in FEWEST_TUNING.items():
        members = [example for example in tuning if example.split == split]
        drawn.append(sample(members, max(fewest, round(share * len(members))), stratum, seed))
    return drawn[0], drawn[1]


def shard_examples(test: Sequence[Example], shard_size: int | None, seed: int) -> list[list[Example]]:
    """Slices of at most `shard_size` examples, permuted by seed, each of one half; the halves take turns."""
    size = shard_size or min(LARGEST_SHARD, max(SMALLEST_SHARD, -(-len(test) // SHARDS_BY_DEFAULT)))
    size = max(size, -(-len(test) // (MOST_SHARDS - 1)))
    halves: list[list[list[Example]]] = []
    half_of_each = [example.half for example in test]
    for half in (0, 1):
        members = [example for example, its_half in zip(test, half_of_each, strict=True) if its_half == half]
        members.sort(key=lambda example: stable_hash("order", seed, example.example_id))
        halves.append([members[start : start + size] for start in range(0, len(members), size)])
    longest = max(map(len, halves))
    return [shards[turn] for turn in range(longest) for shards in halves if turn < len(shards)]
