"""Ray and the scorers of a job, started when they are first needed and shared by all of its soft prompts."""

from collections.abc import Mapping, Sized
from contextlib import ExitStack
from types import TracebackType
from typing import Protocol

from skilljobs.checkpoints.source import ModelSource
from skilljobs.cluster.authentication import token_location
from skilljobs.cluster.machines import refuse_missing
from skilljobs.cluster.pool import ScorerPool
from skilljobs.cluster.resolving import resolve_on
from skilljobs.cluster.session import look_at_cluster, ray_session
from skilljobs.cluster.shared_scorers import scorers_of_job
from skilljobs.cluster.telemetry import count
from skilljobs.errors import InputError
from skilljobs.plan.capacity import Cluster, Placement, Replicas, lay_out
from skilljobs.plan.landmarks import Landmarks
from skilljobs.plan.numerics import tuning_parts
from skilljobs.plan.versions import decisive_versions
from skilljobs.plan.work import LoadedModel, ModelSetup
from skilljobs.printable import counted
from skilljobs.progress.reporter import Reporter, timed
from skilljobs.selection import noun_of
from skilljobs.spec import JobSpec
from skilljobs.store.record import FileDigest, Numerics, RunRecord
from skilljobs.store.run import RunFiles


class WorkPlan(Protocol):
    """What a workplace must know of what is done there."""

    @property
    def spec(self) -> JobSpec: ...
    @property
    def source(self) -> ModelSource: ...
    @property
    def shards(self) -> Sized:
        """As many scorers as these find work at most."""

    @property
    def sums_size(self) -> int: ...
    @property
    def kept_tokens(self) -> int | None: ...
    def check_neurons(self, count: int) -> None:
        """Check the number of neurons that are read, which is known once the model is loaded.

        Raises:
            InputError: they are too many.
        """


class Workplace:
    """Where jobs of one model run. As a context, it ends its scorers and its Ray."""

    def __init__(self, source: ModelSource, placement: Placement, reporter: Reporter) -> None:
        self._source, self._placement, self._reporter = source, placement, reporter
        self._stack = ExitStack()
        self._cluster: Cluster | None = None
        self._numerics: Numerics | None = None
        self._pool: ScorerPool | None = None
        self._replicas: Replicas | None = None

    def __enter__(self) -> "Workplace":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def close(self) -> None:
        """End the scorers and Ray, unless they are shared with other jobs."""
        self._stack.close()
        self._cluster = self._pool = None

    @property
    def pool(self) -> ScorerPool:
        """The scorers, after `start_scorers`."""
        assert self._pool is not None
        return self._pool

    @property
    def scorer_nodes(self) -> set[str]:
        """The machines whose scorers have loaded, by Ray's ids; empty if no scorer was started."""
        members = self._pool.group.members if self._pool else []
        return {member.node for member in members if member.node is not None}

    def connect(self, run: RunFiles) -> Cluster:
        """Start Ray or connect to it, unless that is done; timed and shown as the stage `ray` of `run`.

        Raises:
            InputError: there is no cluster at the given address.
        """
        if self._cluster is None:
            with timed(self._reporter, "ray") as timing:
                session = ray_session(self._placement.address, self._placement.debug)
                cluster = self._cluster = self._stack.enter_context(session)
                at = f"dashboard at {cluster.dashboard}{token_location()}"
                timing.summary = at if cluster.dashboard else "already connected"
            finish(run, "ray", timing.seconds)
        return self._cluster

    def use_numerics(self, numerics: Numerics | None) -> None:
        """Let all runs that have no numerics of their own yet use these."""
        self._numerics = self._numerics or numerics

    def share_numerics(self, record: RunRecord, run: RunFiles) -> None:
        """Let `run` be read on the kind of device of the run of `record`, with the same numerics.

        Raises:
            InputError: it was begun with others.
        """
        self.use_numerics(record.numerics)
        known = record.fingerprint.fields
        run.extend_fingerprint({name: known[name] for name in known if name.startswith("numerics.")})

    def fix_numerics(self, run: RunFiles, plan: WorkPlan) -> Numerics:
        """The numerics of `run`: as stored, as in the workplace's earlier runs, or worked out now and stored.

        Raises:
            InputError: the cluster, or what was asked for, does not fit them.
        """
        cluster, wanted = self.connect(run), self._placement.gpus_per_replica
        numerics = run.record.numerics or self._numerics
        if numerics is None:
            numerics = resolve_on(
                cluster,
                plan.spec,
                plan.source,
                self._placement,
                self._reporter.note,
                plan.sums_size,
                plan.kept_tokens or 1,
            )
        elif wanted not in (None, numerics.gpus):
            raise InputError(f"the run at {run.uri} was begun with --gpus-per-replica {numerics.gpus}")
        if run.record.numerics is None and plan.spec.prompts == 1:  # whatever the same scorers have done before
            parts = tuning_parts(plan.spec, plan.source, numerics.gpus)
            numerics = numerics.model_copy(update={"tuning_parts": parts})
        if self._replicas is None:
            one = Replicas.one_with(numerics, plan.spec.tensor_parallel)
            self._replicas = lay_out(cluster, one, self._placement.replicas, len(plan.shards))
            if cluster.grows:
                refuse_missing(self._landmarks(run))
        self._numerics = numerics
        run.fix_numerics(numerics)
        return numerics

    def start_scorers(self, run: RunFiles, plan: WorkPlan) -> None:
        """Start the scorers and wait until one has loaded the model; timed and shown as the stage `load` of `run`.

        Raises:
            InputError: the model cannot be used, or the machines do not fit the run.
            JobFailed: no scorer could load it.
        """
        numerics = self.fix_numerics(run, plan)
        if self._pool is None:
            with timed(self._reporter, "load") as timing:
                self._pool = self._new_pool(run, numerics)
                self._pool.group.first_loaded()
                timing.summary = self._load_summary(plan)
            finish(run, "load", timing.seconds)
        model = self._loaded_model
        plan.check_neurons(sum(layer.count for layer in model.neurons))
        numerics = self._numerics = numerics.model_copy(update={"attention": model.attention})
        run.fix_numerics(numerics)
        versions = {name: model.versions[name] for name in ("torch", "transformers")}
        run.describe_model(model.parameters, model.neurons, versions)
        run.extend_fingerprint(
            {f"version.{name}": version for name, version in versions.items()}
            | {"numerics.device_model": model.device_model, "numerics.reads_trees": model.reads_trees}
        )

    @property
    def _loaded_model(self) -> LoadedModel:
        model = self.pool.group.model
        assert model is not None
        return model

    def _new_pool(self, run: RunFiles, numerics: Numerics) -> ScorerPool:
        cluster, replicas = self._cluster, self._replicas
        assert cluster is not None
        assert replicas is not None
        landmarks = self._landmarks(run) if cluster.grows else None
        spec = run.record.job_spec
        setup = ModelSetup.of(self._source, numerics, spec.selection, cluster.grows, landmarks, spec.tensor_parallel)
        must_agree = decisive_versions()
        device = run.record.fingerprint.fields.get("numerics.device_model")
        if device is not None:
            must_agree["device"] = device
        run_id = run.record.run_id.partition("/")[0]  # one of several prompts has its number behind that
        group = self._stack.enter_context(scorers_of_job(setup, replicas, self._reporter.note, run_id, must_agree))
        grows = cluster.grows and self._placement.replicas is None
        room = (lambda: replicas.room_in(look_at_cluster())) if grows else None
        return ScorerPool(group, self._reporter.note, room, self._placement.shard_timeout)

    def _landmarks(self, run: RunFiles) -> Landmarks:
        return Landmarks.of(run.uri, run.record.created, self._source)

    def _load_summary(self, plan: WorkPlan) -> str:
        model, numerics, replicas = self._loaded_model, self._numerics, self._replicas
        assert numerics is not None
        assert replicas is not None
        ranks = f" x {replicas.ranks} ranks" if replicas.ranks > 1 else ""
        units = counted(sum(layer.count for layer in model.neurons), noun_of(plan.spec.units))
        return (
            f"{plan.source.name}, {model.parameters:,} parameters,"
            f" {units} in {counted(len(model.neurons), 'layer')},"
            f" {numerics.dtype} on {replicas.count}{ranks} x {model.device_model},"
            f" batches of {numerics.batch_tokens:,} tokens"
        )


def finish(run: RunFiles, stage: str, seconds: float, files: Mapping[str, FileDigest] | None = None) -> None:
    """Record a stage as done, with the files that it left, and count its seconds for dashboards."""
    run.finish_stage(stage, seconds, files)
    count("stage_seconds", seconds, run.record.run_id, stage=stage)
