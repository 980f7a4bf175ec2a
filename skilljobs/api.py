"""skilljobs from Python: submit a job, open a run."""

import inspect
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Unpack

import polars as pl

from skilljobs.analysis.effect_ranking import top_effects
from skilljobs.analysis.ranking import EFFECT, top
from skilljobs.analysis.run_view import html_of, record_of, status_of, wait_for, way_on_of
from skilljobs.cluster.authentication import cluster_address
from skilljobs.errors import InputError
from skilljobs.export.exporting import export
from skilljobs.pipeline.run_jobs import FinishedRunJobs
from skilljobs.plan.capacity import Placement
from skilljobs.progress.notebook import suitable_reporter
from skilljobs.progress.reporter import Reporter
from skilljobs.progress.trackers import check_tracker
from skilljobs.progress.tracking import tracked
from skilljobs.stats.layout import ALL
from skilljobs.store.record import RunRecord
from skilljobs.store.run import PROMPT_NAME, prompt_uri
from skilljobs.submit_options import SubmitOptions
from skilljobs.uris import child_uri, is_uri

if TYPE_CHECKING:
    import torch

OUT = "runs"


def submit(
    *,
    out: str | os.PathLike[str] = OUT,
    run_id: str | None = None,
    replicas: int | None = None,
    gpus_per_replica: int | None = None,
    shard_timeout: float | None = None,
    address: str | None = None,
    no_wait: bool = False,
    report: bool = True,
    verify: bool = False,
    track: str | None = None,
    reporter: Reporter | None = None,
    debug: bool = False,
    **options: Unpack[SubmitOptions],
) -> "Run":
    """Run a job and wait for it, or resume its run if that was begun before.

    Args:
        out: folder or URI that runs are kept in. On a cluster all machines must see it under that name.
        run_id: name of the run; by default the task, the model and a hash of the options.
        replicas, gpus_per_replica: how many scorers, and the GPUs of each. How many there are changes no number.
        shard_timeout: seconds after which a shard is given to another scorer too, and the first result counts; by
            default ten times the slowest shard so far, and at least 60. It changes no number.
        address: a Ray cluster; by default RAY_ADDRESS, or this machine. `http://HEAD:8265` starts the job there;
            `HEAD:6379` or `auto` is for a process on one of the cluster's machines, which then drives the job itself.
        no_wait: with an HTTP address: return as soon as the job is accepted.
        report: whether to draw the figures and write `report.html` at the end.
        verify: whether to read every file of a run that was begun before, and make again what is damaged; otherwise
            sizes are compared, and each file is checked before it is used.
        track: `trackio`, `wandb` or `mlflow`: follow the job in this experiment tracker too. It changes no number.
        reporter: shows progress; by default one display in a notebook, and elsewhere lines on standard error.
        options: what `skilljobs.JobSpec` and the task declare; the options of `skilljobs submit` under the same names.

    Raises:
        InputError: bad usage or input; nothing was started.
        JobFailed: the job could not be finished; what was committed is kept, and the same call resumes.
    """
    from skilljobs.cluster.dashboard_jobs import is_dashboard
    from skilljobs.pipeline.asked_job import AskedJob
    from skilljobs.plan.call_arguments import check_flags, checked_out, refuse_unknown

    reporter = reporter or suitable_reporter()
    refuse_unknown(options, inspect.signature(submit).parameters.keys() - {"options"})
    check_flags({"no_wait": no_wait, "report": report, "verify": verify, "debug": debug})
    out = checked_out(out)
    job = AskedJob.of(options, out, run_id)
    address = cluster_address(address)
    if track is not None:
        check_tracker(track, is_needed_here=not is_dashboard(address))
    placement = Placement(address, replicas, gpus_per_replica, debug, shard_timeout)
    if is_dashboard(address):
        from skilljobs.cluster.remote_job import run_on_cluster

        out = out if is_uri(out) else os.path.abspath(os.path.expanduser(out))
        flags = {
            "--out": out,
            "--run-id": job.run_id,
            "--replicas": replicas,
            "--gpus-per-replica": gpus_per_replica,
            "--shard-timeout": shard_timeout,
            "--no-report": not report,
            "--verify": verify,
            "--track": track,
            "--debug": debug,
        }
        uri = child_uri(out, job.run_id)
        about = {"command": "submit", "task": str(job.spec.task or job.spec.data), "model": str(job.spec.model)}
        run_on_cluster(job.command, str(address), uri, job.run_id, flags, about, not no_wait, reporter)
        return Run(uri)
    if no_wait:
        raise InputError("--no-wait is for a job on a cluster: --address http://HEAD:8265")
    from skilljobs.pipeline.run_job import run_job

    if track is None:
        return Run(run_job(job.spec, job.uri, job.run_id, placement, report, verify, reporter).uri)
    from skilljobs.analysis.tracked_results import tracked_results

    with tracked(track, job.run_id, job.spec.chosen, reporter) as tracking:
        run = Run(run_job(job.spec, job.uri, job.run_id, placement, report, verify, tracking).uri)
        tracking.conclude(lambda: tracked_results(run))
    return run


def open_run(uri: str | os.PathLike[str]) -> "Run":
    """The run in the directory `uri`.

    Raises:
        InputError: there is no run there.
    """
    run = Run(os.fspath(uri))
    run.reload()
    return run


class Run(FinishedRunJobs):
    """A run: its tables, and questions to them."""

    @property
    def record(self) -> RunRecord:
        """See `RunReader`; without a record yet, the error says whether a job works on the run."""
        return record_of(self._files)

    def way_on(self) -> str:
        return way_on_of(self)

    def top(
        self,
        metric: str,
        k: int = 20,
        population: str = ALL,
        given: Sequence[str] = (),
        per_layer: bool = False,
        sort: str = "r",
    ) -> pl.DataFrame:
        """The `k` neurons of largest |r| with `metric` in `population`, strongest first.

        Args:
            given: metrics that are held fixed: r is then the partial correlation.
            per_layer: whether `k` counts for each layer.
            sort: `r`, `predictivity` in a run that has it, or `effect` once effects are estimated (see `top_effects`).

        Raises:
            InputError: the run has no such metric or population, or cannot hold `given` fixed.
        """
        if sort == EFFECT:
            return top_effects(self, metric, population, k, given, per_layer)
        return top(self, metric, population, k, given, per_layer, sort)

    def export(self, metric: str, population: str = ALL, k: int = 50, format: str = "hooks") -> str:
        """The `k` neurons of largest |r| with `metric`, to be read with something else.

        Args:
            format: `csv` for a table of the modules, positions and indices where they are read; `hooks` (of plain
                transformers), `nnsight` or `transformerlens` for a Python program that reads them, and as a script
                compares some activations with those that the run has stored.

        Raises:
            InputError: the run has no such metric or population, its model is not here, or the format cannot read it.
        """
        return export(self, metric, population, k, format)

    @property
    def status(self) -> str:
        """How the run is doing: `complete`, or what its job is at, or why it ended."""
        return status_of(self)

    def wait(self, timeout: float | None = None) -> "Run":
        """The run, once it is complete, for a job that was submitted with `no_wait`; errors as `wait_for`."""
        wait_for(self, timeout)
        return self

    def _repr_html_(self) -> str:
        return html_of(self)

    def soft_prompt(self) -> "torch.Tensor":
        """The soft prompt, P x d_model, float32.

        Raises:
            InputError: the run has several.
        """
        from skilljobs.lm.prompt import read_prompt_bytes

        count = self.record.job_spec.prompts
        if count > 1:
            raise InputError(f"the run has {count} soft prompts: open one, {prompt_uri(self.uri, 0)} and so on")
        return read_prompt_bytes(self.folder.read(PROMPT_NAME)).vectors
