from dataclasses import fields

import pytest

from skilljobs.plan import partition
from skilljobs.plan.job_plan import JobPlan, plan_job
from skilljobs.plan.resharding import resharded
from skilljobs.spec import JobSpec

SPEC = JobSpec(task="arithmetic", limit=300)
SAME = {"examples", "train", "validation", "shards", "null_values", "task"}
"""What plans are not compared by: views of examples, and what has no equality."""


def about(plan: JobPlan) -> list[object]:
    groups = [plan.train, plan.validation, *plan.shards]
    rest = [getattr(plan, field.name) for field in fields(plan) if field.name not in SAME]
    return [plan.examples_digest, [list(map(repr, group)) for group in groups], plan.halves, plan.shard_size, *rest]


@pytest.mark.parametrize("size", [1, 7, 19, 100, 1000])
def test_shards_of_another_size_are_those_of_a_plan_with_that_size(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partition, "BUCKET_ROWS", 64)
    plan = plan_job(SPEC)
    assert len(plan.shards) > 4
    changed = resharded(plan, size)
    assert about(changed) == about(plan_job(SPEC, shard_size=size))
    assert about(resharded(changed, plan.shard_size)) == about(plan)
