"""The collect stage: shards are given to the pool until all are committed, or enough of them are."""

import time
from dataclasses import replace

from skilljobs.engine.cluster.telemetry import count
from skilljobs.engine.plan import JobPlan, external_values
from skilljobs.engine.pool import ScorerPool
from skilljobs.engine.stages import stage
from skilljobs.engine.stopping import StoppingRule
from skilljobs.reporter import Reporter
from skilljobs.stats.layout import NULL_SKEWED
from skilljobs.stats.null import skewness
from skilljobs.store.reader import RunReader
from skilljobs.store.run import RunFiles
from skilljobs.store.shards import (
    Receipt,
    committed_receipt,
    examples_name,
    moments_name,
    read_scores,
    scores_name,
    sums_name,
)


def collect(plan: JobPlan, run: RunFiles, pool: ScorerPool, reporter: Reporter) -> JobPlan:
    """Have every shard committed that is not. Returns the plan of the shards that are kept, fewer with --until-ci.

    Raises:
        JobFailed: a shard could not be scored.
    """
    run_id, fingerprint = run.record["run_id"], run.record["fingerprint"]["digest"]
    sizes = [len(shard) for shard in plan.shards]
    with stage(run, reporter, "collect", sum(sizes)) as done:
        receipts = _committed(plan, run)
        if receipts:
            reporter.note(f"collect: {len(receipts)} of {len(sizes)} shards are committed already")
        rule = _rule(plan, run)
        enough = next((found for shard in sorted(receipts) if rule and (found := rule.committed(shard))), None)
        missing = [] if enough else [shard for shard in range(len(sizes)) if shard not in receipts]
        begun, before, retried = time.monotonic(), sum(r.examples for r in receipts.values()), pool.retried
        count("rows_quarantined", len(plan.bad_rows), run_id)
        results = pool.map(missing, lambda actor, shard: actor.score.remote(shard, fingerprint))
        for receipt in results:
            receipts[receipt.shard] = receipt
            count("shards_done", 1, run_id)
            count("shards_retried", pool.retried - retried, run_id)
            retried = pool.retried
            finished = sum(r.examples for r in receipts.values())
            rate = (finished - before) / (time.monotonic() - begun)
            reporter.advance(finished, f"{len(receipts)} of {len(sizes)} shards, {rate:.1f} examples/s")
            enough = rule.committed(receipt.shard) if rule else None
            if enough:
                pool.put_down()
                break
        of = ""
        if enough:
            run.record["stopped_at"] = enough
            run.save()
            plan = kept(plan, run)
            of = f" of {len(sizes)}: the tenth neuron of every metric is known within {plan.spec.until_ci:g}"
        _forget_others(run, len(plan.shards))
        _conclude(plan, run, [receipts[shard] for shard in range(len(plan.shards))])
        done(f"{len(plan.test)} examples in {len(plan.shards)} shards{of}, {pool.retried} retried")
    return plan


def kept(plan: JobPlan, run: RunFiles) -> JobPlan:
    """The plan without the shards that a job does not need any more, because those before them were enough."""
    stopped_at = run.record.get("stopped_at")
    return plan if stopped_at is None else replace(plan, shards=plan.shards[:stopped_at])


def lacks_shards(plan: JobPlan, run: RunFiles) -> bool:
    """Whether some shard of the plan is not, or no longer, committed."""
    return len(_committed(plan, run)) < len(plan.shards)


def _committed(plan: JobPlan, run: RunFiles) -> dict[int, Receipt]:
    fingerprint = run.record["fingerprint"]["digest"]
    found = (committed_receipt(run.folder, number, fingerprint) for number in range(len(plan.shards)))
    return {receipt.shard: receipt for receipt in found if receipt}


def _rule(plan: JobPlan, run: RunFiles) -> StoppingRule | None:
    width = plan.spec.until_ci
    return None if width is None or "stopped_at" in run.record else StoppingRule(RunReader(run.uri), width)


def _conclude(plan: JobPlan, run: RunFiles, receipts: list[Receipt]) -> None:
    record = run.record
    record["shards"] = [len(shard) for shard in plan.shards]
    record["halves"] = [list(shards) for shards in plan.halves]
    record["examples"]["test"] = len(plan.test)
    record["bit_exact"] = all(receipt.bit_exact for receipt in receipts)
    record["tokens"] = sum(receipt.tokens for receipt in receipts)
    choices = sum(receipt.choices for receipt in receipts)
    record["accuracy"]["test"] = sum(receipt.right for receipt in receipts) / choices if choices else None
    derived = [metric.name for metric in plan.layout.metrics if metric.kind == "model"]
    values = external_values(plan.external, plan.test)
    values |= read_scores(run.folder, len(plan.shards), derived)
    if plan.null_values is not None:
        values[NULL_SKEWED] = plan.null_values
    record["skewness"] = {name: round(skewness(column), 3) for name, column in values.items()}
    record["peak_memory_mb"] = round(max(receipt.peak_memory_bytes for receipt in receipts) / 2**20)


def _forget_others(run: RunFiles, kept_shards: int) -> None:
    """Delete what there is of shards that are not needed, so that the run's tables agree with each other."""
    for shard in range(kept_shards, len(run.record["shards"])):
        for name in (scores_name(shard), sums_name(shard), moments_name(shard), examples_name(shard)):
            run.folder.delete(name)
