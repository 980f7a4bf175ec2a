from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from skilljobs.errors import InputError
from skilljobs.pipeline import run_job
from skilljobs.pipeline.opening import open_run, open_run_files
from skilljobs.plan import shard_size
from skilljobs.plan.capacity import Placement
from skilljobs.plan.footprint import weights_bytes
from skilljobs.plan.job_plan import JobPlan, plan_job
from skilljobs.plan.shard_size import default_shard_size, paying_shard_size
from skilljobs.spec import JobSpec

SPEC = JobSpec(task="arithmetic", limit=400, soft_prompt="random")


@pytest.fixture(scope="module")
def plan() -> JobPlan:
    return plan_job(SPEC)


def test_writing_a_shard_takes_a_twentieth_of_collecting_it_at_most(plan: JobPlan) -> None:
    for sums_size in (1_000_000, 100_000_000, 4_000_000_000):
        sized = replace(plan, sums_size=sums_size)
        for on_gpu in (False, True):
            size = paying_shard_size(sized, on_gpu)
            writing = 0.005 + 1.5e-9 * sums_size
            passes = 2 * shard_size._used_weights(plan.source) * shard_size._tokens_of_example(plan)
            each = 0.001 + passes / (2e14 if on_gpu else 5e10)
            assert writing <= 0.05 * size * each < writing + 0.05 * each


def test_shards_are_enlarged_as_long_as_several_scorers_find_work(plan: JobPlan) -> None:
    heavy = replace(plan, sums_size=4_000_000_000)
    assert paying_shard_size(heavy, on_gpu=True) > len(plan.test)
    assert default_shard_size(heavy, on_gpu=True) == len(plan.test) // 8
    light = replace(plan, sums_size=1000)
    assert default_shard_size(light, on_gpu=False) == max(plan.shard_size, paying_shard_size(light, on_gpu=False))
    stopped_early = replace(heavy, spec=replace(SPEC, until_ci=0.1))
    assert default_shard_size(stopped_early, on_gpu=True) == plan.shard_size


def test_what_a_token_is_multiplied_with_is_neither_its_embedding_nor_an_expert_that_does_not_read_it(
    plan: JobPlan,
) -> None:
    source = plan.source
    stored = weights_bytes(source, "float32") / 4
    used = shard_size._used_weights(source)
    assert used == stored - source.config["vocab_size"] * source.width
    of_experts = replace(source, config=source.config | {"num_local_experts": 8, "num_experts_per_tok": 2})
    assert shard_size._used_weights(of_experts) == used / 4


def test_sums_of_unknown_size_leave_the_size_of_shards_as_it_is(plan: JobPlan) -> None:
    assert paying_shard_size(replace(plan, sums_size=0), on_gpu=True) == 1


def test_a_run_keeps_the_shards_that_it_was_begun_with(
    plan: JobPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    larger = plan_job(SPEC, shard_size=100)
    assert [len(shard) for shard in larger.shards] != [len(shard) for shard in plan.shards]
    for name, begun in (("small", plan), ("large", larger)):
        uri = str(tmp_path / name)
        open_run(uri, name, begun, ())
        again = run_job.check_job(SPEC, uri, Placement())
        assert [len(shard) for shard in again.shards] == [len(shard) for shard in begun.shards]
        assert again.examples_digest == begun.examples_digest
    with pytest.raises(InputError, match="seed"):
        run_job.check_job(replace(SPEC, seed=1), str(tmp_path / "large"), Placement())
    with pytest.raises(InputError, match=r"shard_size|shard-size"):
        run_job.check_job(replace(SPEC, shard_size=7), str(tmp_path / "large"), Placement())


def test_a_run_that_needed_few_of_its_shards_keeps_their_size(tmp_path: Path) -> None:
    """With --until-ci, the record names the shards that were needed."""
    begun = plan_job(SPEC, shard_size=100)
    run = open_run(str(tmp_path), "run", begun, ())
    smallest = min(map(len, begun.shards))
    assert smallest < 100
    run.save(run.record.model_copy(update={"shards": (smallest,)}))
    again = run_job.check_job(SPEC, str(tmp_path), Placement())
    assert [len(shard) for shard in again.shards] == [len(shard) for shard in begun.shards]


def test_a_check_says_where_gpus_would_change_the_shards(plan: JobPlan, tmp_path: Path) -> None:
    """It does not connect to the cluster."""
    heavy, new = replace(plan, sums_size=4_000_000_000), open_run_files(str(tmp_path / "new"))
    assert default_shard_size(heavy, on_gpu=True) > heavy.shard_size
    assert run_job.is_for_cpus_alone(heavy, new, Placement(address="ray://elsewhere:10001"))
    assert not run_job.is_for_cpus_alone(heavy, new, Placement()), "this machine was looked at"
    assert not run_job.is_for_cpus_alone(heavy, new, Placement(address="auto", gpus_per_replica=1))
    chosen = replace(heavy, spec=replace(SPEC, shard_size=50))
    assert not run_job.is_for_cpus_alone(chosen, new, Placement(address="auto"))
    open_run(str(tmp_path / "begun"), "begun", plan, ())
    begun = open_run_files(str(tmp_path / "begun"))
    assert not run_job.is_for_cpus_alone(heavy, begun, Placement(address="auto"))
    stopped_early = replace(heavy, spec=replace(SPEC, until_ci=0.1))
    assert not run_job.is_for_cpus_alone(stopped_early, new, Placement(address="auto"))


def test_gpus_are_looked_for_where_they_matter(plan: JobPlan, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def has_gpus(placement: Placement) -> bool:
        with ExitStack() as stack:
            return run_job._has_gpus(plan, placement, stack)

    monkeypatch.setattr("skilljobs.machine.DEVICES", tmp_path)
    assert not has_gpus(Placement())
    assert has_gpus(Placement(gpus_per_replica=1))
    assert not has_gpus(Placement(gpus_per_replica=0))
    (tmp_path / "nvidia0").touch()
    monkeypatch.setattr(run_job, "default_shard_size", lambda plan, on_gpu: plan.shard_size)
    assert not has_gpus(Placement()), "no size of a shard depends on it"
