"""Cuts the test examples of a plan into shards of another size, without reading the data again."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from skilljobs.plan.job_plan import JobPlan
from skilljobs.plan.sharding import ShardOrder
from skilljobs.tasks.example_chunks import Chunk


def resharded(plan: JobPlan, shard_size: int) -> JobPlan:
    """The plan that the same job has with shards of `shard_size` examples."""
    counts = [sum(len(plan.shards[shard]) for shard in shards) for shards in plan.halves]
    before, after = ShardOrder(counts, plan.shard_size), ShardOrder(counts, shard_size)
    tuned = [len(plan.train), len(plan.validation)]
    first_test = sum(tuned)
    total = first_test + sum(counts)

    def moved() -> Iterator[tuple[Chunk, NDArray[np.int32]]]:
        start = 0
        for chunk in plan.examples.blocks(0, total):
            places = np.arange(start, start + len(chunk))
            is_test = places >= first_test
            places[is_test] = first_test + after.places(*before.numbers(places[is_test] - first_test))
            yield chunk, places.astype(np.int32)
            start += len(chunk)

    examples = plan.examples.reordered(moved())
    train, validation, *shards = examples.views([*tuned, *after.sizes])
    return replace(plan, examples=examples, train=train, validation=validation, shards=shards)
