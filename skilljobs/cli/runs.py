"""`skilljobs tasks`, `skilljobs runs` and `skilljobs status`."""

from datetime import UTC, datetime
from typing import Any

import click

from skilljobs.cli.jobs import address_option, cluster_jobs, started_run

LAST_LINES = 10
"""Lines of a cluster job's log that `status` shows."""


@click.command()
def tasks() -> None:
    """List the built-in tasks and those of installed packages.

    \b
    skilljobs tasks
    """
    from skilljobs.tasks.registry import find_task, task_names

    for name in task_names():
        summary = (find_task(name).__doc__ or "").strip().partition("\n")[0]
        click.echo(f"{name:<14} {summary}")


@click.command()
@click.option("--out", default="runs", show_default=True, metavar="URI", help="Folder that holds the runs.")
@address_option
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def runs(out: str, address: str | None, debug: bool) -> None:
    """List the runs in a folder, or with --address the runs of a cluster's jobs, newest first.

    \b
    skilljobs runs --out runs
    skilljobs runs --address http://HEAD:8265
    """
    if address is not None:
        for job in cluster_jobs(address).all():
            started = datetime.fromtimestamp(job.begun, UTC).isoformat(timespec="seconds")
            click.echo(f"{started}  {job.uri}  {job.status.lower()}  {job.id}")
        return
    from skilljobs.progress.job_state import progress_of
    from skilljobs.store.reader import RunReader
    from skilljobs.store.run import list_runs

    for record in list_runs(out):
        stage = next_stage(record)
        progress = progress_of(RunReader(record["uri"]))
        state = "done" if not stage else "running" if progress and progress.is_running else f"stopped before {stage}"
        click.echo(f"{record['created']}  {record['uri']}  {state}")


@click.command()
@click.argument("run")
@address_option
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def status(run: str, address: str | None, debug: bool) -> None:
    """Show a run's progress and where its time went, from its directory, or with --address from its cluster.

    \b
    skilljobs status runs/RUN
    skilljobs status RUN --address http://HEAD:8265
    """
    if address is not None:
        jobs = cluster_jobs(address)
        job = jobs.find(run)
        click.echo(f"{job.run_id}: {job.status.lower()} at {jobs.address}, job {job.id}\n  {job.uri}")
        for line in jobs.log(job.id).rstrip().splitlines()[-LAST_LINES:]:
            click.echo(f"  | {line}")
        return
    from skilljobs.progress.job_state import progress_of

    opened = started_run(run)
    progress = progress_of(opened)
    if progress is not None and not opened.exists:
        click.echo(f"{opened.uri}\n  {progress.text}")
        return
    record = opened.record
    click.echo(f"{record['run_id']}: {record['examples']['test']} test examples, model {record['model']['name']}")
    prompts = record["spec"]["prompts"]
    if prompts > 1:
        for number, prompt in enumerate(opened.prompts()):
            print_stages(f"prompt {number}: ", prompt.record)
    print_stages("", record)
    click.echo(f"  {opened.committed_shards()} of {prompts * len(record['shards'])} shards committed")
    if progress is not None:
        click.echo(f"  {progress.text}")


def print_stages(prefix: str, record: dict[str, Any]) -> None:
    """Print the state and duration of each stage, with `prefix` before the name of the stage."""
    for stage, entry in record["stages"].items():
        click.echo(f"  {prefix}{stage:<10} {entry['state']:<6} {entry['seconds']:8.1f} s")


def next_stage(record: dict[str, Any]) -> str:
    """Return the first stage that a run has not finished, or an empty string if it has finished all of them."""
    from skilljobs.store.run import STAGES

    if record["spec"]["prompts"] != 1:
        return "" if "reduce" in record["stages"] else "the mean over its prompts"
    return next((stage for stage in STAGES if stage not in record["stages"]), "")
