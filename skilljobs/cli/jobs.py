"""`skilljobs logs` and `skilljobs stop`, which use the run's directory or a cluster's dashboard."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from skilljobs.cli.options_once import OptionsOnce
from skilljobs.cli.run_names import run_argument
from skilljobs.cli.saying import say

if TYPE_CHECKING:
    from skilljobs.cluster.dashboard_jobs import ClusterJobs
    from skilljobs.store.reader import RunReader

POLL_SECONDS = 1.0
STOP_SECONDS = 60.0
"""How long a job may take to stop."""

address_option: Callable[[Any], Any] = click.option(
    "--address", metavar="URL", is_eager=True, help="Dashboard of the cluster that the job runs on, http://HEAD:8265."
)


def cluster_jobs(address: str) -> "ClusterJobs":
    """Return the jobs of the cluster whose dashboard is at `address`.

    Raises:
        InputError: `address` is not the address of a dashboard.
    """
    from skilljobs.cluster.dashboard_jobs import ClusterJobs, is_dashboard
    from skilljobs.errors import InputError

    if not is_dashboard(address):
        raise InputError(f"--address {address}: this must be a dashboard's address, such as http://HEAD:8265")
    return ClusterJobs(address)


def started_run(uri: str) -> "RunReader":
    """Return the run in a directory where a job has written its progress, even if the run has no record yet.

    Raises:
        InputError: the directory has neither progress nor a record.
    """
    from skilljobs.progress.job_progress import read_progress
    from skilljobs.store.reader import RunReader

    run = RunReader(uri)
    if read_progress(run.folder) is None:
        run.reload()
    return run


@click.command(cls=OptionsOnce)
@run_argument()
@click.option("-f", "--follow", is_flag=True, help="Keep printing until the job ends.")
@address_option
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def logs(run: str, follow: bool, address: str | None, debug: bool) -> None:
    """Show the log of a run's job, from the run's directory, or with --address from the cluster that it runs on.

    \b
    skilljobs logs runs/RUN
    skilljobs logs -f RUN --address http://HEAD:8265
    """
    if address is not None:
        jobs = cluster_jobs(address)
        job = jobs.find(run)
        if not follow:
            click.echo(jobs.log(job.id), nl=False)
            return
        for text in jobs.follow(job.id):
            click.echo(text, nl=False)
        return
    from skilljobs.progress.job_state import job_state, log_lines

    opened, printed = started_run(run), 0
    while True:
        state = job_state(opened.folder)
        lines, printed = log_lines(opened.folder, printed)
        for line in lines:
            say(line)
        if not follow or state is None or not state.is_running:
            return
        time.sleep(POLL_SECONDS)


@click.command(cls=OptionsOnce)
@run_argument()
@address_option
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def stop(run: str, address: str | None, debug: bool) -> None:
    """Stop the job that is working on a run. Committed shards are kept, and the same submit command resumes from them.

    \b
    skilljobs stop runs/RUN
    skilljobs stop RUN --address http://HEAD:8265
    """
    from skilljobs.errors import InputError, JobFailed

    if address is not None:
        jobs = cluster_jobs(address)
        job = jobs.find(run)
        if job.ended:
            raise InputError(f"the job {job.id} has already ended: {job.status.lower()}")
        say(f"{job.id}: {jobs.stop(job).status.lower()}")
        return
    from skilljobs.progress.job_state import is_stop_requested, job_state, request_stop, withdraw_stop

    opened = started_run(run)
    state = job_state(opened.folder)
    if state is None or not state.is_running:
        raise InputError(f"no job is working on {opened.uri}" + (f": {state.text}" if state else ""))
    request_stop(opened.folder)
    deadline = time.monotonic() + STOP_SECONDS
    while state is not None and state.is_running:
        if time.monotonic() > deadline:
            if is_stop_requested(opened.folder):
                withdraw_stop(opened.folder)
            raise JobFailed(f"the job was asked to stop but is still running: {state.text}")
        time.sleep(POLL_SECONDS)
        state = job_state(opened.folder)
    say(state.text if state else "stopped")
