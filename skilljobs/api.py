"""skilljobs from Python: submit a job, open a run."""

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from skilljobs.analysis.ranking import top
from skilljobs.errors import InputError, JobFailed
from skilljobs.interrupts import Detached
from skilljobs.lm.source import TINY
from skilljobs.reporter import LineReporter, Reporter
from skilljobs.spec import NO_PROMPT, RANDOM_PROMPT, JobSpec
from skilljobs.stats.layout import ALL
from skilljobs.store.reader import RunReader
from skilljobs.store.run import RunFiles

if TYPE_CHECKING:
    from skilljobs.engine.cluster.capacity import Placement

OUT = "runs"


def submit(
    *,
    out: str = OUT,
    run_id: str | None = None,
    replicas: int | None = None,
    gpus_per_replica: int | None = None,
    address: str | None = None,
    no_wait: bool = False,
    report: bool = True,
    reporter: Reporter | None = None,
    debug: bool = False,
    **spec: Any,
) -> "Run":
    """Run a job and wait for it; go on with its run if that was begun before.

    Args:
        out: folder or URI that runs are kept in. On a cluster all machines must see it under that name.
        run_id: name of the run; default: task, model and a hash of the spec.
        replicas, gpus_per_replica: how many scorers, and the GPUs of each. How many there are changes no number.
        address: of a Ray cluster; default: RAY_ADDRESS, or this machine. `http://HEAD:8265` starts the job there;
            `HEAD:6379` or `auto` is for a process on one of the cluster's machines, which then drives the job itself.
        no_wait: with an HTTP address: return as soon as the job is accepted.
        report: whether to draw the figures and write `report.html` when the job is done.
        reporter: told of progress; default: a line a stage on standard error.
        spec: the fields of `skilljobs.JobSpec`, which are the options of `skilljobs submit`.

    Raises:
        InputError: bad usage or input; nothing was started.
        JobFailed: the job could not be finished; what was committed is kept, and the same call resumes.
    """
    from skilljobs.engine.cluster.capacity import Placement
    from skilljobs.engine.cluster.jobs import is_dashboard
    from skilljobs.engine.plan import with_model
    from skilljobs.engine.record import default_run_id

    reporter = reporter or LineReporter()
    for field in ("metric", "by", "label_words"):
        if isinstance(spec.get(field), str):
            spec[field] = (spec[field],)
        elif spec.get(field) is not None:
            spec[field] = tuple(spec[field])
    job, _ = with_model(absolute_paths(JobSpec(**spec)))
    run_id = run_id or default_run_id(job)
    address = cluster_address(address)
    if is_dashboard(address):
        out = out if "://" in out else os.path.abspath(os.path.expanduser(out))
        options = {"--replicas": replicas, "--gpus-per-replica": gpus_per_replica, "--no-report": not report}
        return _submit_to_cluster(job, str(address), out, run_id, options | {"--debug": debug}, no_wait, reporter)
    if no_wait:
        raise InputError("--no-wait is for a job on a cluster: --address http://HEAD:8265")
    files = _run_here(
        job,
        f"{out.rstrip('/')}/{run_id}",
        run_id,
        Placement(address, replicas, gpus_per_replica, debug),
        report,
        reporter,
    )
    return Run(files.uri)


def cluster_address(address: str | None) -> str | None:
    """The Ray cluster that is meant: what is said, else RAY_ADDRESS; None: none, or one that is started here."""
    from skilljobs.engine.cluster.authentication import use_token_at_hand

    address = address or os.environ.get("RAY_ADDRESS")
    if address is not None and address.startswith("ray://"):
        raise InputError(f"--address {address}: Ray Client is not for this; use the dashboard's, http://HEAD:8265")
    if address in (None, "", "local"):
        return None
    use_token_at_hand()  # before Ray is imported
    return address


def _submit_to_cluster(
    job: JobSpec,
    address: str,
    out: str,
    run_id: str,
    options: Mapping[str, object],
    no_wait: bool,
    reporter: Reporter,
) -> "Run":
    from skilljobs.engine.cluster.jobs import ClusterJobs, command_line

    uri = f"{out.rstrip('/')}/{run_id}"
    jobs = ClusterJobs(address)
    command = command_line(job.command, {"--out": out, "--run-id": run_id, **options})
    submitted = jobs.submit(command, run_id, uri)
    reporter.note(f"job {submitted.id} at {jobs.address}, {submitted.status.lower()}")
    if no_wait:
        return Run(uri)
    how = (
        f"`skilljobs logs -f {run_id} --address {jobs.address}` follows it,"
        f" `skilljobs stop {run_id} --address {jobs.address}` stops it"
    )
    try:
        for text in jobs.follow(submitted.id):
            reporter.note(text.rstrip("\n"))
    except KeyboardInterrupt as interrupt:
        raise Detached(f"the job goes on: {how}") from interrupt
    except InputError as error:
        raise JobFailed(f"{error}; the job {submitted.id} may go on: {how}") from error
    jobs.conclude(submitted.id)
    return Run(uri)


def _run_here(
    job: JobSpec, uri: str, run_id: str, placement: "Placement", report: bool, reporter: Reporter
) -> RunFiles:
    from skilljobs.engine.journal import Journal
    from skilljobs.engine.plan import plan_job
    from skilljobs.engine.record import open_record

    with ExitStack() as stack:
        texts, seconds = None, dict[str, float]()
        if job.generate or job.grader is not None:
            from skilljobs.engine.cluster.session import ray_session
            from skilljobs.engine.writing import TextWriter, Workplace

            writer = TextWriter(job, uri)
            if not writer.done:
                plan_job(job, writer.draft_rows())  # what is wrong with the rest shows before anything is written
                reporter = stack.enter_context(Journal(writer.folder, reporter))
                cluster = stack.enter_context(ray_session(placement.address, placement.debug))
                seconds = writer.write(Workplace(cluster, placement), reporter)
            texts = writer.finished_rows()
        plan = plan_job(job, texts)
        files = open_record(uri, run_id, plan)
        for name in seconds:
            files.finish_stage(name, seconds[name])
        if files.complete:
            reporter.note(f"{files.uri} is complete already")
        if files.complete and (not report or files.stage_done("report")):
            return files
        if not isinstance(reporter, Journal):
            reporter = stack.enter_context(Journal(files.folder, reporter))
        if not files.complete:
            if plan.spec.prompts > 1:
                from skilljobs.engine.prompts import run_prompts as run_job
            else:
                from skilljobs.engine.pipeline import run_job
            run_job(plan, files, reporter, placement)
        if report and not files.stage_done("report"):
            _report(files, reporter, placement.debug)
    return files


def _report(files: RunFiles, reporter: Reporter, debug: bool) -> None:
    """Write the report of a finished job, which stays finished if that fails."""
    from skilljobs.engine.stages import stage
    from skilljobs.report.page import write_report

    try:
        with stage(files, reporter, "report") as done:
            done(write_report(Run(files.uri)))
    except Exception as error:
        if debug:
            raise
        reporter.note(f"the report could not be written ({type(error).__name__}: {error}); the job itself is done")


def absolute_paths(spec: JobSpec) -> JobSpec:
    """The spec with its files and directories named from the root, so that it means the same from anywhere."""

    def absolute(name: str | None) -> str | None:
        if name is None or name in (TINY, RANDOM_PROMPT, NO_PROMPT) or not Path(name).expanduser().exists():
            return name
        return os.path.abspath(os.path.expanduser(name))

    return replace(
        spec,
        data=absolute(spec.data),
        train_data=absolute(spec.train_data),
        model=absolute(spec.model),
        grader=absolute(spec.grader),
        soft_prompt=absolute(spec.soft_prompt),
    )


def open_run(uri: str) -> "Run":
    """The run in the directory `uri`.

    Raises:
        InputError: there is no run there.
    """
    run = Run(uri)
    run.reload()
    return run


class Run(RunReader):
    """A run: its tables, and questions to them."""

    def top(
        self, metric: str, k: int = 20, population: str = ALL, given: Sequence[str] = (), per_layer: bool = False
    ) -> pl.DataFrame:
        """The `k` neurons of largest |r| with `metric` in `population`, strongest first.

        Args:
            given: metrics that are held fixed: r is then the partial correlation.
            per_layer: `k` of each layer.

        Raises:
            InputError: the run has no such metric or population, or cannot hold `given` fixed.
        """
        return top(self, metric, population, k, given, per_layer)
