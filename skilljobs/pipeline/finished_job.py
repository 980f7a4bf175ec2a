"""A job on a finished run, for each of its soft prompts: under the run's lease, on one set of scorers."""

import shlex
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Protocol

from skilljobs.cluster.jobs_page import shown_on_jobs_page
from skilljobs.errors import InputError, JobFailed
from skilljobs.pipeline.workplace import Workplace
from skilljobs.plan.capacity import Placement
from skilljobs.plan.finished_run import FinishedRun, refuse_other_units
from skilljobs.progress.journal import Journal
from skilljobs.progress.lease import RunLease
from skilljobs.progress.reporter import Reporter
from skilljobs.store.files import Folder
from skilljobs.store.reader import RunReader
from skilljobs.store.sweeping import sweep
from skilljobs.uris import parent_and_name


class PromptJob(Protocol):
    """What is done on the run of one soft prompt."""

    @property
    def is_done(self) -> bool:
        """Whether it is complete, with all of its files as they were written."""

    def make(self) -> None:
        """Do what is left of it."""


MakeJob = Callable[[RunReader, FinishedRun, Workplace, Reporter, int | None], PromptJob]
"""Given the run of a soft prompt, and the prompt's number if it is one of several."""


def do_on_prompts(
    readers: Sequence[RunReader],
    root: RunReader,
    inside: str,
    job_on: MakeJob,
    placement: Placement,
    trust_remote_code: bool,
    reporter: Reporter,
    conclude: Callable[[Reporter], None],
) -> None:
    """Do what is left of a job on each of `readers`, and then `conclude`, all under the lease of the run `root`.

    `inside` is the folder of the job's files in the run of a prompt.

    Raises:
        InputError: the model is another one, or another job works on the run; nothing was started.
        JobFailed: it could not be finished; what was committed is kept.
    """
    plan = FinishedRun.of(readers[0].record, readers[0].record.halves[1], trust_remote_code)
    folder = Folder(root.uri)
    with ExitStack() as stack:
        stack.enter_context(lease := RunLease(folder, reporter.note))
        lease.acquire()
        sweep(folder)
        shown = stack.enter_context(shown_on_jobs_page(reporter))
        reporter = stack.enter_context(Journal(folder, shown))
        workplace = stack.enter_context(Workplace(plan.source, placement, reporter))
        for number, reader in enumerate(readers):
            job = job_on(reader, plan, workplace, reporter, number if len(readers) > 1 else None)
            if job.is_done:
                reporter.note(f"{inside} in {reader.uri} is complete already")
                continue
            try:
                job.make()
            except JobFailed as error:
                raise error.keeping(f"what is committed in {reader.uri}/{inside} is kept") from error
        workplace.close()
        conclude(reporter)


def do_on_cluster(
    command: str,
    uri: str,
    options: Sequence[str],
    placement: Placement,
    trust_remote_code: bool,
    report: bool,
    reporter: Reporter,
) -> None:
    """Have a cluster do `skilljobs COMMAND` on the run at `uri`, and follow it; errors as `run_on_cluster`."""
    from skilljobs.cluster.remote_job import run_on_cluster

    flags = {
        "--replicas": placement.replicas,
        "--shard-timeout": placement.shard_timeout,
        "--trust-remote-code": trust_remote_code,
        "--no-report": not report,
        "--debug": placement.debug,
    }
    words = shlex.join(["skilljobs", command, uri, *options])
    run_id = parent_and_name(uri)[1]
    run_on_cluster(words, str(placement.address), uri, run_id, flags, {"command": command}, True, reporter)


def prompts_of_finished(root: RunReader) -> list[RunReader]:
    """The runs of the soft prompts of a run that a job can work on.

    Raises:
        InputError: the run is not finished, has examples of one half only, or read units that cannot be silenced.
    """
    record = root.record
    refuse_other_units(record)
    if not record.is_complete:
        raise InputError(f"the run at {root.uri} is not finished (it lacks {record.next_stage}): submit it again first")
    readers = root.prompts()
    for reader in readers:
        if not all(reader.record.halves):
            raise InputError(f"the run at {reader.uri} has examples of one half only: nothing is left to measure on")
    return readers


def write_report_anew(root: RunReader, reporter: Reporter) -> None:
    """The report of the run, whose failure costs no result."""
    from skilljobs.report.refresh import refresh_report

    try:
        reporter.note(f"report: {refresh_report(root)}")
    except Exception as error:
        reporter.note(f"the report was not written ({type(error).__name__}: {error}); the results themselves are kept")
