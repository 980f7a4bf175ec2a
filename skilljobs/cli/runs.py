"""`skilljobs tasks`, `skilljobs runs` and `skilljobs status`."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from skilljobs.cli.jobs import address_option, cluster_jobs, started_run
from skilljobs.cli.options_once import OptionsOnce
from skilljobs.cli.run_names import run_argument
from skilljobs.cli.saying import say
from skilljobs.errors import InputError
from skilljobs.printable import counted

if TYPE_CHECKING:
    from skilljobs.store.record import RunRecord
    from skilljobs.store.run import RunFiles

LAST_LINES = 10
"""Lines of a cluster job's log that `status` shows."""


@click.command(cls=OptionsOnce)
def tasks() -> None:
    """List the built-in tasks and those of installed packages.

    \b
    skilljobs tasks
    """
    from skilljobs.tasks.registry import find_task, task_names

    for name in task_names():
        summary = (find_task(name).__doc__ or "").strip().partition("\n")[0]
        say(f"{name:<14} {summary}")


@click.command(cls=OptionsOnce)
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
            say(f"{started}  {job.uri}  {job.status.lower()}  {job.id}")
        return
    from skilljobs.progress.job_state import job_state
    from skilljobs.store.run_list import list_runs

    found = list_runs(out)
    for run in found.readable:
        stage, progress = run.record.next_stage, job_state(run.folder)
        state = (
            "done" if stage is None else "running" if progress and progress.is_running else f"stopped before {stage}"
        )
        say(_line(run, state))
    for run in found.without_record:
        progress = job_state(run.folder)
        say(f"{'not begun':<25}  {run.uri}  {progress.text if progress else ''}")
    for uri, reason in found.broken.items():
        say(f"{'broken':<25}  {uri}  {reason}")


def _line(run: "RunFiles", state: str) -> str:
    """What `runs` says of a run: when it was begun, where it is, what it is of, how large, how far."""
    record, spec = run.record, run.record.job_spec
    accuracy = "-" if record.accuracy.test is None else f"{record.accuracy.test:.3f}"
    return (
        f"{record.created}  {run.uri}  {spec.task or spec.data}  {spec.model or record.model.name}"
        f"  n = {record.examples.test:,}  accuracy {accuracy}  {_age(record.created)}"
        f"  {run.folder.total_size / 1e6:,.1f} MB  {state}"
    )


def _age(created: str) -> str:
    """How long ago a run was begun."""
    minutes = int((datetime.now(UTC) - datetime.fromisoformat(created)).total_seconds() // 60)
    for length, unit in ((24 * 60, "day"), (60, "hour")):
        if minutes >= length:
            return f"{counted(minutes // length, unit)} ago"
    return f"{counted(max(0, minutes), 'minute')} ago"


@click.command(cls=OptionsOnce)
@run_argument()
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
        say(f"{job.run_id}: {job.status.lower()} at {jobs.address}, job {job.id}")
        say(f"  {job.uri}")
        for line in jobs.log(job.id).rstrip().splitlines()[-LAST_LINES:]:
            say(f"  | {line}")
        return
    from skilljobs.progress.job_state import job_state
    from skilljobs.store.cleaning import SUMS_DROPPED

    opened = started_run(run)
    state = job_state(opened.folder)
    if state is not None and not opened.exists:
        say(opened.uri)
        say(f"  {state.text}")
        return
    record, prompts = opened.record, opened.record.job_spec.prompts
    say(f"{record.run_id}: {record.examples.test} test examples, model {record.model.name}")
    if prompts > 1:
        for number, prompt in enumerate(opened.prompts()):
            try:
                print_stages(f"prompt {number}: ", prompt.record)
            except InputError as error:
                say(f"  prompt {number}: {error}")
    print_stages("", record)
    dropped = f"; {SUMS_DROPPED}" if record.sums_dropped else ""
    say(f"  {opened.committed_shards()} of {prompts * len(record.shards)} shards committed{dropped}")
    if state is not None:
        say(f"  {state.text}")


def print_stages(prefix: str, record: "RunRecord") -> None:
    """Print the state and duration of each stage, with `prefix` before the name of the stage."""
    for name, stage in record.stages.items():
        say(f"  {prefix}{name:<10} {stage.state:<6} {stage.seconds:8.1f} s")
