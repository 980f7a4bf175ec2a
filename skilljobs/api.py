"""skilljobs from Python: submit a job, open a run."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skilljobs.reporter import LineReporter, Reporter
from skilljobs.spec import JobSpec
from skilljobs.stats.layout import ALL, Layout, Metric
from skilljobs.store.files import Folder
from skilljobs.store.run import PROMPT_NAME, TOP_NAME, RunFiles

if TYPE_CHECKING:
    import polars as pl
    import torch

OUT = "runs"


def submit(
    *,
    out: str = OUT,
    run_id: str | None = None,
    replicas: int | None = None,
    gpus_per_replica: int | None = None,
    reporter: Reporter | None = None,
    debug: bool = False,
    **spec: Any,
) -> "Run":
    """Run a job on this machine and wait for it; go on with its run if that was begun before.

    Args:
        out: folder or URI that runs are kept in.
        run_id: name of the run; default: task, model and a hash of the spec.
        replicas, gpus_per_replica: how many scorers, and the GPUs of each; they do not change the numbers.
        reporter: told of progress; default: a line a stage on standard error.
        spec: the fields of `skilljobs.JobSpec`, which are the options of `skilljobs submit`.

    Raises:
        InputError: bad usage or input; nothing was started.
        JobFailed: the job could not be finished; what was committed is kept, and the same call resumes.
    """
    from skilljobs.engine.plan import plan_job
    from skilljobs.engine.record import default_run_id, open_record

    reporter = reporter or LineReporter()
    for field in ("metric", "by"):
        if isinstance(spec.get(field), str):
            spec[field] = (spec[field],)
        elif field in spec:
            spec[field] = tuple(spec[field])
    plan = plan_job(absolute_paths(JobSpec(**spec)))
    run_id = run_id or default_run_id(plan)
    uri = f"{out.rstrip('/')}/{run_id}"
    files = open_record(uri, run_id, plan)
    if files.exists and files.stage_done("reduce"):
        reporter.note(f"{files.uri} is complete already")
        return Run(files.uri)
    from skilljobs.engine.pipeline import run_job

    run_job(plan, files, reporter, replicas, gpus_per_replica, debug)
    return Run(files.uri)


def absolute_paths(spec: JobSpec) -> JobSpec:
    """The spec with its files and directories named from the root, so that it means the same from anywhere."""

    def absolute(name: str | None) -> str | None:
        return os.path.abspath(os.path.expanduser(name)) if name and Path(name).expanduser().exists() else name

    model = spec.model if spec.model and "/" not in spec.model and spec.model == "tiny" else absolute(spec.model)
    return replace(spec, data=absolute(spec.data), model=model, soft_prompt=absolute(spec.soft_prompt))


def open_run(uri: str) -> "Run":
    """The run in the directory `uri`.

    Raises:
        InputError: there is no run there.
    """
    return Run(uri)


class Run:
    """A run's tables, as Polars frames. The columns are described in the README."""

    def __init__(self, uri: str) -> None:
        self._files = RunFiles(uri)
        self.record: dict[str, Any] = self._files.load()

    @property
    def uri(self) -> str:
        return self._files.uri

    def __repr__(self) -> str:
        return f"Run({self.uri!r})"

    def correlations(self) -> "pl.LazyFrame":
        """Every neuron with every metric and population."""
        return self._scan("correlations/*.parquet")

    def top(
        self, metric: str, k: int = 20, population: str = ALL, given: Sequence[str] = (), per_layer: bool = False
    ) -> "pl.DataFrame":
        """The `k` neurons of largest |r| with `metric` in `population`, strongest first.

        Args:
            given: metrics that are held fixed: r is then the partial correlation.
            per_layer: `k` of each layer.

        Raises:
            InputError: the run has no such metric or population, or cannot hold `given` fixed.
        """
        from skilljobs.analysis.ranking import top

        return top(self, metric, population, k, given, per_layer)

    def examples(self) -> "pl.LazyFrame":
        """The test examples as evaluated."""
        return self._scan("examples/*.parquet")

    def scores(self) -> "pl.LazyFrame":
        """The model-derived metrics of every test example."""
        return self._scan("shards/scores-*.parquet")

    def sums(self) -> "pl.LazyFrame":
        """The sums of every shard."""
        return self._scan("shards/sums-*.parquet")

    def tuning(self) -> "pl.LazyFrame":
        """The tuning curve: step, split, loss, accuracy. Not there when the prompt was not tuned in this run."""
        return self._scan("prompt/tuning.parquet")

    def strongest(self) -> "pl.LazyFrame":
        """The 1,000 largest |r| of each metric and population."""
        return self._scan(TOP_NAME)

    def metrics(self) -> "pl.LazyFrame":
        """Name, kind, whether nullable, and reference of each metric."""
        return self._scan("metrics.parquet")

    def layout(self) -> Layout:
        """The metrics and populations of the run's sums."""
        metrics = tuple(
            Metric(row["metric"], row["kind"], row["nullable"])
            for row in self.metrics().collect().iter_rows(named=True)
        )
        groups = {column: tuple(names) for column, names in self.record["groups"].items()}
        return Layout(metrics, (ALL, *(name for names in groups.values() for name in names)), groups)

    @property
    def folder(self) -> Folder:
        return self._files.folder

    def soft_prompt(self) -> "torch.Tensor":
        """The soft prompt, P x d_model, float32."""
        from skilljobs.lm.prompt import read_prompt_bytes

        return read_prompt_bytes(self._files.folder.read(PROMPT_NAME)).vectors

    def committed_shards(self) -> int:
        return self._files.committed_count()

    def _scan(self, pattern: str) -> "pl.LazyFrame":
        import polars as pl

        return pl.scan_parquet(f"{self.uri}/{pattern}")
