"""Running several jobs one after another: all are checked before one starts, and one that fails stops no other.

Ray is imported only once a job has something to do. Scorers stay loaded from a job to the next one that reads the same
model in the same way.
"""

import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from skilljobs.cluster.authentication import token_location
from skilljobs.errors import InputError, JobFailed, SomeJobsFailed
from skilljobs.pipeline.asked_job import AskedJob
from skilljobs.pipeline.opening import open_run_files
from skilljobs.pipeline.prepare_stage import plan_summary
from skilljobs.pipeline.run_job import check_job, is_for_cpus_alone, run_job
from skilljobs.plan.capacity import Placement
from skilljobs.plan.several_specs import JobOptions
from skilljobs.printable import counted
from skilljobs.progress.interrupts import interrupted_by
from skilljobs.progress.reporter import Reporter, timed
from skilljobs.store.run import RunFiles

DONE, NOT_BEGUN = "done", "not begun"
SAME_COMMAND = "the same command again resumes what is not finished"


@dataclass(frozen=True)
class CheckedJob:
    """A job that can be started, and what is known of it before."""

    job: AskedJob
    label: str
    state: str
    """`new`, `complete`, or how far its run is."""
    summary: str
    """What is to be read, in words."""

    @property
    def description(self) -> str:
        """Its run, and what it would do, in words."""
        return f"{self.job.uri}: {self.state}; {self.summary}"

    @property
    def is_complete(self) -> bool:
        return self.state == "complete"


def ask_several(options: Sequence[JobOptions], out: str) -> list[tuple[str, AskedJob]]:
    """The jobs that are asked for, each with its label.

    Raises:
        InputError: names the job, and what is wrong with its options; or two jobs that are the same.
    """
    asked: list[tuple[str, AskedJob]] = []
    for one in options:
        values = dict(one.values)
        with _named(one.label):
            asked.append((one.label, AskedJob.of(values, out, values.pop("run_id", None))))
    first: dict[str, str] = {}
    for label, job in asked:
        if job.uri in first:
            raise InputError(f"{first[job.uri]} and {label} are the same job, whose run is {job.uri}")
        first[job.uri] = label
    return asked


def check_several(jobs: Sequence[tuple[str, AskedJob]], placement: Placement) -> list[CheckedJob]:
    """Check everything that can be refused of all jobs; nothing is written.

    Raises:
        InputError: names the job, and what is wrong with it.
    """
    checked = []
    for label, job in jobs:
        with _named(label):
            plan = check_job(job.spec, job.uri, placement)
            files = open_run_files(job.uri)
            on_gpus = "; on GPUs, in fewer shards" if is_for_cpus_alone(plan, files, placement) else ""
            checked.append(CheckedJob(job, label, state_of(files), plan_summary(plan) + on_gpus))
    return checked


def state_of(files: RunFiles) -> str:
    """How far a run is, in words."""
    if not files.exists:
        return "new"
    if files.record.is_complete:
        return "complete"
    committed = files.committed_count()
    shards = f", {committed} of {len(files.record.shards)} shards committed" if committed else ""
    return f"begun, next is {files.record.next_stage}{shards}"


def run_several(
    jobs: Sequence[CheckedJob],
    placement: Placement,
    report: bool,
    verify: bool,
    reporter: Reporter,
    on_done: Callable[[str], None] = lambda uri: None,
) -> list[str]:
    """Do what is left of all jobs; `report` and `verify` are as for one.

    Jobs of one model follow each other; otherwise their order is kept. `on_done` gets the directory of each run as it
    is finished.

    Returns:
        the directories of the runs, in the order of `jobs`.

    Raises:
        SomeJobsFailed: some jobs could not be finished; what was committed is kept.
        KeyboardInterrupt: says how many are done, and how to resume.
    """
    outcomes = {one.job.uri: NOT_BEGUN for one in jobs}
    order = list(_by_model(jobs))
    with ExitStack() as stack:
        try:
            if not all(one.is_complete for one in jobs):
                _share_scorers(stack, placement, reporter)
            for place, one in enumerate(order, 1):
                reporter.note(f"job {place} of {len(order)}: {one.job.run_id}")
                outcomes[one.job.uri] = _run(one.job, placement, report, verify, reporter, on_done)
        except KeyboardInterrupt as interrupt:
            done = sum(outcome == DONE for outcome in outcomes.values())
            raise type(interrupt)(
                f"interrupted: {done} of {counted(len(jobs), 'job')} {'is' if done == 1 else 'are'} done, and what the"
                " others have committed is kept; run the same command again to resume"
            ) from interrupt
    failed = sum(outcome != DONE for outcome in outcomes.values())
    if failed:
        lines = [f"{one.job.run_id}: {outcomes[one.job.uri]}" for one in jobs]
        heading = f"{failed} of {counted(len(jobs), 'job')} failed; {SAME_COMMAND}"
        raise SomeJobsFailed("\n".join([heading, *lines]), list(outcomes))
    return list(outcomes)


def _share_scorers(stack: ExitStack, placement: Placement, reporter: Reporter) -> None:
    """Start Ray or connect to it, and let scorers stay for the next job. Imports Ray."""
    from skilljobs.cluster.session import ray_session
    from skilljobs.cluster.shared_scorers import scorers_shared

    with timed(reporter, "ray") as timing:
        cluster = stack.enter_context(ray_session(placement.address, placement.debug))
        at = f"dashboard at {cluster.dashboard}{token_location()}"
        timing.summary = at if cluster.dashboard else "already connected"
    stack.enter_context(scorers_shared())


def _run(
    job: AskedJob,
    placement: Placement,
    report: bool,
    verify: bool,
    reporter: Reporter,
    on_done: Callable[[str], None],
) -> str:
    """Run one job. Returns how it ended: `DONE`, or why it failed."""
    try:
        uri = run_job(job.spec, job.uri, job.run_id, placement, report, verify, reporter).uri
    except Exception as error:
        if interrupted_by() is not None:  # an interrupt may end as an error of another kind
            raise KeyboardInterrupt from error
        if placement.debug:
            traceback.print_exception(error)
        expected = isinstance(error, InputError | JobFailed)
        reason = str(error) if expected else f"{type(error).__name__}: {error}"
        reporter.note(f"{job.run_id} failed: {reason}")
        return f"failed: {reason}"
    on_done(uri)
    return DONE


def _by_model(jobs: Sequence[CheckedJob]) -> Iterator[CheckedJob]:
    """The jobs, those of one model together, in the order in which models come first."""

    def model_of(one: CheckedJob) -> tuple[object, ...]:
        spec = one.job.spec
        read = (spec.model, spec.revision, spec.adapter, spec.quantize, spec.dtype, spec.attention)
        return (*read, spec.selection, spec.tensor_parallel)

    for model in dict.fromkeys(map(model_of, jobs)):
        yield from (one for one in jobs if model_of(one) == model)


@contextmanager
def _named(label: str) -> Iterator[None]:
    """Within the block, an `InputError` says which job it is about."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{label}: {error}") from error
