"""The stage that scores the shards: they are given to the pool until all are committed, or enough of them are."""

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from skilljobs.checkpoints.safetensors_header import tensors_digest
from skilljobs.cluster.telemetry import count
from skilljobs.errors import JobFailed
from skilljobs.pipeline.job import Job
from skilljobs.pipeline.set_aside import named, refuse_too_many, set_aside_examples
from skilljobs.pipeline.stage import Stage
from skilljobs.plan.job_plan import JobPlan
from skilljobs.plan.metric_choice import external_values
from skilljobs.reduce.stopping import StoppingRule
from skilljobs.stats.layout import NULL_SKEWED
from skilljobs.stats.long_columns import Column
from skilljobs.stats.null import skewness
from skilljobs.store.attempts import delete_leftovers, shard_files, shard_of
from skilljobs.store.reader import RunReader
from skilljobs.store.references import METRICS_NAME, REFERENCE_NAME
from skilljobs.store.run import PROMPT_NAME, CollectedFacts, RunFiles
from skilljobs.store.score_columns import read_scores
from skilljobs.store.shards import (
    Receipt,
    committed_receipt,
    examples_name,
    sha256,
)
from skilljobs.store.thresholds import THRESHOLDS_NAME


class Collect(Stage):
    """Have every shard committed that is not; with `--until-ci`, only as many as are needed."""

    name = "collect"
    needs = "scorers"
    reads = (PROMPT_NAME, REFERENCE_NAME, METRICS_NAME, THRESHOLDS_NAME, "examples/part-*.parquet")
    writes = ("shards/*.parquet",)
    records_digests = False

    def steps(self, job: Job) -> int | None:
        return len(job.plan.test)

    def is_done(self, job: Job) -> bool:
        """Shards may be damaged as long as they have not been reduced."""
        record = job.run.record
        return record.is_done(self.name) and (
            record.is_done("reduce") or len(_committed(job.plan, job.run)) == len(job.plan.shards)
        )

    def run(self, job: Job) -> str:
        plan, run, pool = job.plan, job.run, job.workplace.pool
        run.extend_fingerprint(
            {
                "prompt_digest": tensors_digest(run.folder.read(PROMPT_NAME)),
                "reference_digest": sha256(run.folder.read(REFERENCE_NAME)),
            }
        )
        if plan.yes_no:
            run.extend_fingerprint({"thresholds_digest": sha256(run.folder.read(THRESHOLDS_NAME))})
        planned, retried_before, twice_before = len(plan.shards), pool.retried, pool.given_twice
        receipts = _committed(plan, run)
        refuse_too_many(plan, receipts.values())
        if receipts:
            job.reporter.note(f"collect: {len(receipts)} of {planned} shards are committed already")
        count("rows_quarantined", len(plan.bad_rows), run.record.run_id)
        enough = _score_missing(job, receipts)
        stopped = ""
        if enough is not None:
            run.stop_at(enough)
            stopped = f" of {planned}: r with every metric is known within {plan.spec.until_ci:g}"
        job.plan = needed_plan(plan, run)
        _delete_unneeded(run, len(job.plan.shards))
        delete_leftovers(run.folder, receipts.values())
        run.record_collected(_facts(job.plan, run, [receipts[shard] for shard in range(len(job.plan.shards))]))
        retried, twice = pool.retried - retried_before, pool.given_twice - twice_before
        given_twice = f", {twice} given out twice" if twice else ""
        shards, set_aside = f"{len(job.plan.shards)} shards{stopped}", run.record.set_aside
        left_out = f", {named(set_aside)}" if set_aside else ""
        return f"{len(job.plan.test)} examples in {shards}, {retried} retried{given_twice}{left_out}"


def needed_plan(plan: JobPlan, run: RunFiles) -> JobPlan:
    """The plan without the shards that the job no longer needs, because those before them were enough."""
    stopped_at = run.record.stopped_at
    return plan if stopped_at is None else replace(plan, shards=plan.shards[:stopped_at])


def _score_missing(job: Job, receipts: dict[int, Receipt]) -> int | None:
    """Add the receipts of all missing shards. Returns the number of shards that are enough, if it stopped early.

    Raises:
        JobFailed: a shard could not be scored.
    """
    plan, run, pool = job.plan, job.run, job.workplace.pool
    run_id, fingerprint = run.record.run_id, run.record.fingerprint.digest
    rule = _stopping_rule(plan, run)
    for shard in sorted(receipts):
        enough = rule.committed(shard) if rule else None
        if enough is not None:
            return enough
    missing = [shard for shard in range(len(plan.shards)) if shard not in receipts]
    begun, examples_before, retried = time.monotonic(), _examples(receipts), pool.retried
    attempts = Counter[int]()

    def score(actor: Any, shard: int) -> Any:
        attempts[shard] += 1
        return actor.score.remote(job.work, shard, fingerprint, attempts[shard] - 1)

    def show() -> None:
        rate = (_examples(receipts) - examples_before) / (time.monotonic() - begun)
        overdue = f", {pool.overdue}" if pool.overdue else ""
        job.reporter.advance(
            _examples(receipts), f"{len(receipts)} of {len(plan.shards)} shards, {rate:.1f} examples/s{overdue}"
        )

    enough = None
    for receipt in pool.map(missing, score, on_overdue=show):
        if not _is_of_its_examples(receipt, run):
            raise JobFailed(f"the examples of shard {receipt.shard} changed while it was scored")
        receipts[receipt.shard] = receipt
        refuse_too_many(plan, receipts.values())
        count("shards_done", 1, run_id)
        count("shards_retried", pool.retried - retried, run_id)
        retried = pool.retried
        show()
        enough = rule.committed(receipt.shard) if rule else None
        if enough is not None:
            pool.finish_in_hand()
            break
    _read_again(receipts, [shard for shard, tried in attempts.items() if tried > 1], run)
    return enough


def _read_again(receipts: dict[int, Receipt], shards: Iterable[int], run: RunFiles) -> None:
    """Take the receipts of shards that were tried again from their files: two attempts may have ended at once.

    Raises:
        JobFailed: one of them is not committed after all.
    """
    for shard in shards:
        receipt = committed_receipt(run.folder, shard, run.record.fingerprint.digest)
        if receipt is None and shard in receipts:
            raise JobFailed(f"shard {shard} was damaged while it was scored")
        if receipt is not None:
            receipts[shard] = receipt


def _examples(receipts: dict[int, Receipt]) -> int:
    return sum(receipt.examples for receipt in receipts.values())


def _committed(plan: JobPlan, run: RunFiles) -> dict[int, Receipt]:
    """The receipts of the shards that are committed, by shard."""
    fingerprint = run.record.fingerprint.digest
    receipts = (committed_receipt(run.folder, shard, fingerprint) for shard in range(len(plan.shards)))
    return {receipt.shard: receipt for receipt in receipts if receipt and _is_of_its_examples(receipt, run)}


def _is_of_its_examples(receipt: Receipt, run: RunFiles) -> bool:
    """Whether a shard was scored on the examples that the plan gave it."""
    name = examples_name(receipt.shard)
    prepared = run.record.stages["prepare"].files.get(name)
    return prepared is None or receipt.files.get(name) == prepared.sha256


def _stopping_rule(plan: JobPlan, run: RunFiles) -> StoppingRule | None:
    width = plan.spec.until_ci
    return None if width is None or run.record.stopped_at is not None else StoppingRule(RunReader(run.uri), width)


def _facts(plan: JobPlan, run: RunFiles, receipts: list[Receipt]) -> CollectedFacts:
    choices = sum(receipt.choices for receipt in receipts)
    derived = [metric.name for metric in plan.layout.metrics if metric.kind == "model"]
    set_aside = set_aside_examples(receipts)
    left_out = {example.example_id for example in set_aside}
    external = external_values(plan.external, plan.test, left_out)
    values: dict[str, Column] = {**external, **read_scores(run.folder, len(plan.shards), derived)}
    if plan.null_values is not None:
        values[NULL_SKEWED] = plan.null_values
    return CollectedFacts(
        shards=tuple(len(shard) for shard in plan.shards),
        halves=plan.halves,
        bit_exact=all(receipt.bit_exact for receipt in receipts),
        tokens=sum(receipt.tokens for receipt in receipts),
        test_accuracy=sum(receipt.right for receipt in receipts) / choices if choices else None,
        skewness={name: round(skewness(column), 3) for name, column in values.items()},
        peak_memory_mb=round(max(receipt.peak_memory_bytes for receipt in receipts) / 2**20),
        set_aside=set_aside,
    )


def _delete_unneeded(run: RunFiles, needed_shards: int) -> None:
    """Delete the files of shards that are not needed, so that the run's tables agree with each other."""
    deleted = [name for name in shard_files(run.folder) if shard_of(name) >= needed_shards]
    deleted += [examples_name(shard) for shard in range(needed_shards, len(run.record.shards))]
    for name in deleted:
        run.folder.delete(name)
    if deleted:
        run.forget_files(deleted)
