"""A job: prepare, tune, reference, collect, reduce, trace. A stage that is done is skipped."""

from functools import cached_property, partial
from typing import Any

from skilljobs.engine.actor import start_scorer
from skilljobs.engine.cluster.capacity import Cluster, Placement, lay_out
from skilljobs.engine.cluster.machines import refuse_unseen
from skilljobs.engine.cluster.session import look_at_cluster
from skilljobs.engine.cluster.visibility import Landmarks
from skilljobs.engine.collecting import collect, kept, lacks_shards
from skilljobs.engine.job import ScorerJob
from skilljobs.engine.plan import JobPlan
from skilljobs.engine.pool import ScorerPool
from skilljobs.engine.prompt_source import prompt_bytes
from skilljobs.engine.record import add_fields, stored_numerics, write_examples
from skilljobs.engine.reducer import ReduceJob, reduce_layer
from skilljobs.engine.reducing import reduce_all
from skilljobs.engine.resolving import resolve_on
from skilljobs.engine.stages import connected, stage
from skilljobs.engine.tracing import trace_top
from skilljobs.engine.versions import decisive_versions
from skilljobs.errors import InputError, JobFailed
from skilljobs.reporter import Reporter
from skilljobs.spec import NO_PROMPT, RANDOM_PROMPT
from skilljobs.store.reference import REFERENCE_NAME
from skilljobs.store.run import PROMPT_NAME, TUNING_STATE_NAME, RunFiles
from skilljobs.store.schema import sums_schema
from skilljobs.store.shards import sha256


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
        self.plan, self.run_files, self.reporter, self.cluster = kept(plan, run), run, reporter, cluster
        stored = stored_numerics(run)
        if stored is not None and placement.gpus_per_replica not in (None, stored.gpus):
            raise InputError(f"the run at {run.uri} was begun with --gpus-per-replica {stored.gpus}")
        self.numerics = stored or resolve_on(
            cluster, plan.spec, plan.source, placement, reporter.note, plan.sums_bytes, plan.kept_tokens or 1
        )
        self.wanted = placement.replicas
        self.layout = lay_out(cluster, self.numerics.replica, self.wanted, len(plan.shards))
        run.record["numerics"] = self.numerics.as_json()
        add_fields(run, {f"numerics.{name}": value for name, value in self.numerics.as_json().items()})
        self.job = ScorerJob(
            uri=run.uri,
            run_id=run.record["run_id"],
            spec=plan.spec,
            source=plan.source,
            reading=plan.reading,
            numerics=self.numerics,
            answer_end=plan.task.answer_end,
            elsewhere=cluster.grows,
            landmarks=Landmarks.of(run.uri, run.record, plan.source) if cluster.grows else None,
        )

    def run(self) -> None:
        run = self.run_files
        if self.job.landmarks:
            refuse_unseen(self.job.landmarks)
        try:
            if not run.stage_done("collect") or (not run.stage_done("reduce") and lacks_shards(self.plan, run)):
                if not run.stage_done("tune"):
                    self._tune(self._pool)
                    run.folder.delete(TUNING_STATE_NAME)
                add_fields(run, {"prompt_digest": sha256(run.folder.read(PROMPT_NAME))})
                if not run.stage_done("reference"):
                    self._reference(self._pool)
                add_fields(run, {"reference_digest": sha256(run.folder.read(REFERENCE_NAME))})
                self.plan = collect(self.plan, run, self._pool, self.reporter)
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
        here = decisive_versions()
        device = self.run_files.record["fingerprint"]["fields"].get("numerics.device_model")
        if device is not None:
            here["device"] = device
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

    @property
    def _nodes(self) -> set[str]:
        """The machines whose scorers were found to fit; empty where none has been started."""
        members = self._pool.members if "_pool" in vars(self) else []
        return {member.node for member in members if member.node is not None}

    def _room(self) -> int:
        return self.layout.room_in(look_at_cluster())

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
                f" {self.numerics.dtype} on {self.layout.count} x {about['device_model']},"
                f" batches of {self.numerics.batch_tokens:,} tokens"
            )

    def _tune(self, pool: ScorerPool) -> None:
        spec = self.plan.spec
        tuned = spec.soft_prompt is None
        with stage(self.run_files, self.reporter, "tune", spec.tune_steps if tuned else None) as done:
            reused = None if spec.soft_prompt in (None, RANDOM_PROMPT, NO_PROMPT) else prompt_bytes(spec.soft_prompt)
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

    def _reduce(self) -> None:
        layers = len(self.run_files.record["model"]["neurons_per_layer"])
        job = ReduceJob(self.run_files.uri, self.plan.layout, self.plan.halves, self.plan.kept_tokens, layers)
        with stage(self.run_files, self.reporter, "reduce", layers) as done:
            reduce_all(job, partial(reduce_layer, job), self.reporter, self._nodes)
            done(f"{layers} layers")

    def _trace(self, pool: ScorerPool) -> None:
        with stage(self.run_files, self.reporter, "trace") as done:
            done(trace_top(self.plan, self.run_files, pool, self.reporter))


def _shown(accuracy: float | None) -> str:
    return "-" if accuracy is None else f"{accuracy:.3f}"
