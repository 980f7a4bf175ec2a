"""A job: prepare, tune, reference, collect, reduce, trace. A stage that is done is skipped."""

import time
from functools import cached_property, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from skilljobs.engine.actor import start_scorer
from skilljobs.engine.capacity import Cluster, Placement, lay_out
from skilljobs.engine.job import Reading, ScorerJob
from skilljobs.engine.machines import refuse_unseen
from skilljobs.engine.numerics import resolve_numerics
from skilljobs.engine.plan import JobPlan, external_values
from skilljobs.engine.pool import ScorerPool
from skilljobs.engine.record import add_fields, stored_numerics, write_examples
from skilljobs.engine.reducer import ReduceJob, reduce_layer
from skilljobs.engine.reducing import reduce_all
from skilljobs.engine.session import look_at_cluster
from skilljobs.engine.stages import connected, stage
from skilljobs.engine.telemetry import count
from skilljobs.engine.tracing import trace_top
from skilljobs.engine.visibility import Landmarks
from skilljobs.errors import InputError, JobFailed
from skilljobs.reporter import Reporter
from skilljobs.spec import NO_PROMPT, RANDOM_PROMPT
from skilljobs.stats.layout import NULL_SKEWED
from skilljobs.stats.null import skewness
from skilljobs.store.files import Folder
from skilljobs.store.reference import REFERENCE_NAME
from skilljobs.store.run import PROMPT_NAME, TUNING_STATE_NAME, RunFiles
from skilljobs.store.schema import sums_schema
from skilljobs.store.shards import Receipt, committed_receipt, read_scores, sha256


def run_job(plan: JobPlan, run: RunFiles, reporter: Reporter, placement: Placement) -> None:
    """Do what is left of a job.

    Raises:
        InputError: the cluster, the model or the stored run does not fit the job.
        JobFailed: a stage could not be finished; what was committed is kept.
    """
    if not run.stage_done("prepare"):
        with stage(run, reporter, "prepare") as done:
            write_examples(run, plan)
            done(
                f"{len(plan.test)} test examples in {len(plan.shards)} shards, {len(plan.train)} to tune on;"
                f" sums of {len(sums_schema(plan.layout))} columns, {plan.sums_bytes / 1e6:.1f} MB a shard,"
                f" {plan.sums_bytes * len(plan.shards) / 1e6:.0f} MB in all before compression"
            )
    with connected(run, reporter, placement) as cluster:
        try:
            _Job(plan, run, reporter, cluster, placement).run()
        except JobFailed as error:
            raise JobFailed(
                f"{error}; {run.committed_count()} of {len(plan.shards)} shards are committed in {run.uri}:"
                " the same command resumes"
            ) from error


class _Job:
    def __init__(
        self, plan: JobPlan, run: RunFiles, reporter: Reporter, cluster: Cluster, placement: Placement
    ) -> None:
        self.plan, self.run_files, self.reporter, self.cluster = plan, run, reporter, cluster
        stored = stored_numerics(run)
        if stored is not None and placement.gpus_per_replica not in (None, stored.gpus):
            raise InputError(f"the run at {run.uri} was begun with --gpus-per-replica {stored.gpus}")
        gpus = cluster.gpus_of_replica(placement.gpus_per_replica)
        self.numerics = stored or resolve_numerics(plan.spec, plan.source, gpus, cluster.machine_for(gpus))
        self.wanted = placement.replicas
        self.layout = lay_out(cluster, self.numerics, self.wanted, len(plan.shards))
        run.record["numerics"] = self.numerics.as_json()
        add_fields(run, {f"numerics.{name}": value for name, value in self.numerics.as_json().items()})
        self.job = ScorerJob(
            uri=run.uri,
            run_id=run.record["run_id"],
            spec=plan.spec,
            source=plan.source,
            reading=Reading(
                plan.layout, plan.external, plan.populations, plan.null_values, plan.task.choice_probabilities
            ),
            numerics=self.numerics,
            answer_end=plan.task.answer_end,
            landmarks=Landmarks.of(run.uri, run.record, plan.source) if cluster.grows else None,
        )

    def run(self) -> None:
        run = self.run_files
        if self.job.landmarks:
            refuse_unseen(self.job.landmarks)
        try:
            if not run.stage_done("collect") or (not run.stage_done("reduce") and self._uncommitted()):
                if not run.stage_done("tune"):
                    self._tune(self._pool)
                    run.folder.delete(TUNING_STATE_NAME)
                add_fields(run, {"prompt_digest": sha256(run.folder.read(PROMPT_NAME))})
                if not run.stage_done("reference"):
                    self._reference(self._pool)
                add_fields(run, {"reference_digest": sha256(run.folder.read(REFERENCE_NAME))})
                self._collect(self._pool)
            if not run.stage_done("reduce"):
                self._reduce()
            if not run.stage_done("trace"):
                self._trace(self._pool)
        finally:
            if "_pool" in vars(self):
                self._pool.close()

    @cached_property
    def _pool(self) -> ScorerPool:
        """The scorers, with the model loaded: started when the first stage needs them."""
        here = {name: version(name) for name in ("skilljobs", "torch", "transformers")}
        pool = ScorerPool(
            lambda name: start_scorer(name, self.job, self.layout),
            self.layout.count,
            self.reporter.note,
            here,
            self._room if self.cluster.grows and self.wanted is None else None,
        )
        try:
            self._load(pool)
        except BaseException:
            pool.close()
            raise
        return pool

    def _room(self) -> int:
        return self.layout.room_in(look_at_cluster(grows=True))

    def _load(self, pool: ScorerPool) -> None:
        with stage(self.run_files, self.reporter, "load") as done:
            pool.first_loaded()
            about = pool.description
            self.run_files.record["versions"] |= about["versions"]
            self.run_files.record["model"] |= {
                "parameters": about["parameters"], "neurons_per_layer": about["neurons_per_layer"]
            }  # fmt: skip
            versions = {f"version.{name}": found for name, found in about["versions"].items()}
            add_fields(
                self.run_files, versions | {f"numerics.{name}": about[name] for name in ("device_model", "reads_trees")}
            )
            done(
                f"{self.plan.source.name}, {about['parameters']:,} parameters,"
                f" {sum(about['neurons_per_layer']):,} neurons in {len(about['neurons_per_layer'])} layers,"
                f" {self.numerics.dtype} on {self.layout.count} x {about['device_model']}"
            )

    def _tune(self, pool: ScorerPool) -> None:
        spec = self.plan.spec
        tuned = spec.soft_prompt is None
        with stage(self.run_files, self.reporter, "tune", spec.tune_steps if tuned else None) as done:
            reused = _reused_prompt(spec.soft_prompt)
            accuracy: dict[str, Any] = {}

            def progress(item: dict[str, Any]) -> None:
                if "before" in item:
                    accuracy.update(item)
                elif item["split"] == "validation":
                    self.reporter.advance(item["step"], f"validation loss {item['loss']:.4f}")

            pool.run_on_one(lambda actor: actor.make_prompt.remote(reused), progress)
            self.run_files.record["accuracy"] |= accuracy
            done(f"validation accuracy {_shown(accuracy['before'])} before, {_shown(accuracy['after'])} after")

    def _reference(self, pool: ScorerPool) -> None:
        with stage(self.run_files, self.reporter, "reference") as done:
            pool.run_on_one(lambda actor: [actor.make_references.remote()], lambda _: None)
            done("of every neuron and metric, from the first batch")

    def _collect(self, pool: ScorerPool) -> None:
        fingerprint = self.run_files.record["fingerprint"]["digest"]
        sizes = [len(shard) for shard in self.plan.shards]
        with stage(self.run_files, self.reporter, "collect", sum(sizes)) as done:
            receipts = self._committed()
            if receipts:
                self.reporter.note(f"collect: {len(receipts)} of {len(sizes)} shards are committed already")
            missing = [shard for shard in range(len(sizes)) if shard not in receipts]
            begun, before, retried = time.monotonic(), sum(r.examples for r in receipts.values()), 0
            count("rows_quarantined", len(self.plan.bad_rows), self.job.run_id)
            for receipt in pool.map(missing, lambda actor, shard: actor.score.remote(shard, fingerprint)):
                receipts[receipt.shard] = receipt
                count("shards_done", 1, self.job.run_id)
                count("shards_retried", pool.retried - retried, self.job.run_id)
                retried = pool.retried
                finished = sum(r.examples for r in receipts.values())
                rate = (finished - before) / (time.monotonic() - begun)
                self.reporter.advance(finished, f"{len(receipts)} of {len(sizes)} shards, {rate:.1f} examples/s")
            self._conclude(receipts)
            done(f"{sum(sizes)} examples in {len(sizes)} shards, {pool.retried} retried")

    def _committed(self) -> dict[int, Receipt]:
        fingerprint = self.run_files.record["fingerprint"]["digest"]
        found = (committed_receipt(self.run_files.folder, n, fingerprint) for n in range(len(self.plan.shards)))
        return {receipt.shard: receipt for receipt in found if receipt}

    def _uncommitted(self) -> bool:
        return len(self._committed()) < len(self.plan.shards)

    def _conclude(self, receipts: dict[int, Receipt]) -> None:
        record = self.run_files.record
        record["bit_exact"] = all(receipt.bit_exact for receipt in receipts.values())
        record["tokens"] = sum(receipt.tokens for receipt in receipts.values())
        choices = sum(receipt.choices for receipt in receipts.values())
        record["accuracy"]["test"] = sum(receipt.right for receipt in receipts.values()) / choices if choices else None
        derived = [metric.name for metric in self.plan.layout.metrics if metric.kind == "model"]
        values = external_values(self.plan.external, self.plan.test)
        values |= read_scores(self.run_files.folder, len(self.plan.shards), derived)
        if self.plan.null_values is not None:
            values[NULL_SKEWED] = self.plan.null_values
        record["skewness"] = {name: round(skewness(column), 3) for name, column in values.items()}
        record["peak_memory_mb"] = round(max(receipt.peak_memory_bytes for receipt in receipts.values()) / 2**20)

    def _reduce(self) -> None:
        layers = len(self.run_files.record["model"]["neurons_per_layer"])
        job = ReduceJob(self.run_files.uri, self.plan.layout, self.plan.halves, self.plan.kept_tokens, layers)
        with stage(self.run_files, self.reporter, "reduce", layers) as done:
            reduce_all(job, partial(reduce_layer, job), self.cluster.cpus, self.reporter)
            done(f"{layers} layers")

    def _trace(self, pool: ScorerPool) -> None:
        with stage(self.run_files, self.reporter, "trace") as done:
            done(trace_top(self.plan, self.run_files, pool, self.reporter))


def _reused_prompt(soft_prompt: str | None) -> bytes | None:
    """The safetensors bytes of a run's prompt or a file."""
    if soft_prompt in (None, RANDOM_PROMPT, NO_PROMPT):
        return None
    path = Path(soft_prompt).expanduser()
    if path.is_dir():
        return Folder(soft_prompt).read(PROMPT_NAME)
    return path.read_bytes()


def _shown(accuracy: float | None) -> str:
    return "-" if accuracy is None else f"{accuracy:.3f}"
