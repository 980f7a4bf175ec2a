"""`skilljobs logs` and `skilljobs stop`: by the run's directory, or through a cluster's dashboard."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from skilljobs.cluster.dashboard_jobs import ClusterJobs
    from skilljobs.store.reader import RunReader

LOOK_SECONDS = 1.0
STOP_SECONDS = 60.0

address_option: Callable[[Any], Any] = click.option(
    "--address", metavar="URL", help="Of the dashboard of the cluster that the job is on, http://HEAD:8265."
)


def cluster_jobs(address: str) -> "ClusterJobs":
    """The jobs of the cluster whose dashboard is at `address`.

    Raises:
        InputError: it is not the address of a dashboard.
    """
    from skilljobs.cluster.dashboard_jobs import ClusterJobs, is_dashboard
    from skilljobs.errors import InputError

    if not is_dashboard(address):
        raise InputError(f"--address {address}: jobs are seen at the dashboard's address, like http://HEAD:8265")
    return ClusterJobs(address)


def begun_run(uri: str) -> "RunReader":
    """The run in a directory where a job has told something of itself, even if it has no record yet.

    Raises:
        InputError: there is none.
    """
    from skilljobs.store.reader import RunReader

    run = RunReader(uri)
    if run.progress() is None:
        run.reload()
    return run


@click.command()
@click.argument("run")
@click.option("-f", "--follow", is_flag=True, help="Go on until the job ends.")
@address_option
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def logs(run: str, follow: bool, address: str | None, debug: bool) -> None:
    """Show what a run's job has told: from the run's directory, or with --address from the cluster it runs on.

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
    from skilljobs.progress.job_state import log_of, progress_of

    opened, shown = begun_run(run), 0
    while True:
        progress = progress_of(opened)
        lines, shown = log_of(opened, shown)
        for line in lines:
            click.echo(line)
        if not follow or progress is None or not progress.lives:
            return
        time.sleep(LOOK_SECONDS)


@click.command()
@click.argument("run")
@address_option
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def stop(run: str, address: str | None, debug: bool) -> None:
    """Stop the job that works on a run. Committed shards are kept, and the same submit goes on with them.

    \b
    skilljobs stop runs/RUN
    skilljobs stop RUN --address http://HEAD:8265
    """
    from skilljobs.errors import InputError, JobFailed

    if address is not None:
        jobs = cluster_jobs(address)
        job = jobs.find(run)
        if job.ended:
            raise InputError(f"the job {job.id} has ended already: {job.status.lower()}")
        click.echo(f"{job.id}: {jobs.stop(job).status.lower()}")
        return
    from skilljobs.progress.job_state import ask_to_stop, asked_to_stop, progress_of, take_back

    opened = begun_run(run)
    progress = progress_of(opened)
    if progress is None or not progress.lives:
        raise InputError(f"no job works on {opened.uri}" + (f": {progress.text}" if progress else ""))
    ask_to_stop(opened)
    deadline = time.monotonic() + STOP_SECONDS
    while progress is not None and progress.lives:
        if time.monotonic() > deadline:
            if asked_to_stop(opened):
                take_back(opened)
            raise JobFailed(f"the job was told to stop and still works: {progress.text}")
        time.sleep(LOOK_SECONDS)
        progress = progress_of(opened)
    click.echo(progress.text if progress else "stopped")
