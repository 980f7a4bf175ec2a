"""Who lends activations to whom: another unit of the same group."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from skilljobs.errors import InputError
from skilljobs.hashing import stable_hash
from skilljobs.tasks.base import Example
from skilljobs.tasks.external_metrics import group_populations


def choose_donors(examples: Sequence[Example], groups: Mapping[str, Sequence[str]], seed: int) -> dict[str, Example]:
    """For each example, by its id, another one of another unit, drawn by seed among those of its group.

    Groups are those of the first of the columns in `groups`; without columns, all examples are one group.

    Raises:
        InputError: a group has one unit only.
    """
    column = next(iter(groups), None)
    populations = group_populations(examples, column) if column is not None else []
    members: dict[str, list[Example]] = defaultdict(list)
    group_of: dict[str, str] = {}
    for example in examples:
        group = next((population.name for population in populations if population.has(example)), "")
        members[group].append(example)
        group_of[example.example_id] = group
    donors = {}
    for example in examples:
        group = group_of[example.example_id]
        others = members[group]
        start = stable_hash("donor", seed, example.example_id) % len(others)
        turned = (others[(start + step) % len(others)] for step in range(len(others)))
        donor = next((other for other in turned if other.unit != example.unit), None)
        if donor is None:
            name = f"the group {group}" if group else "half 1"
            raise InputError(f"--how resample takes another unit's activations, and {name} has one unit only")
        donors[example.example_id] = donor
    return donors
