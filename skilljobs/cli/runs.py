"""`skilljobs tasks`, `skilljobs runs` and `skilljobs status`."""

from typing import Any

import click


@click.command()
def tasks() -> None:
    """List the tasks: built-in ones and those of installed packages.

    \b
    skilljobs tasks
    """
    from skilljobs.tasks.registry import find_task, task_names

    for name in task_names():
        summary = (find_task(name).__doc__ or "").strip().partition("\n")[0]
        click.echo(f"{name:<14} {summary}")


@click.command()
@click.option("--out", default="runs", show_default=True, metavar="URI", help="Folder that runs are kept in.")
def runs(out: str) -> None:
    """List the runs in a folder, newest first.

    \b
    skilljobs runs --out runs
    """
    from skilljobs.store.run import list_runs

    for record in list_runs(out):
        waiting = next_stage(record)
        state = f"stopped before {waiting}" if waiting else "done"
        click.echo(f"{record['created']}  {record['uri']}  {state}")


@click.command()
@click.argument("run")
def status(run: str) -> None:
    """Show how far a run is and where its time went.

    \b
    skilljobs status runs/RUN
    """
    from skilljobs.api import open_run

    opened = open_run(run)
    record = opened.record
    click.echo(f"{record['run_id']}: {record['examples']['test']} test examples, model {record['model']['name']}")
    prompts = record["spec"]["prompts"]
    if prompts > 1:
        for number, prompt in enumerate(opened.prompts()):
            print_stages(f"prompt {number}: ", prompt.record)
    print_stages("", record)
    click.echo(f"  {opened.committed_shards()} of {prompts * len(record['shards'])} shards committed")


def print_stages(before: str, record: dict[str, Any]) -> None:
    for stage, entry in record["stages"].items():
        click.echo(f"  {before}{stage:<10} {entry['state']:<6} {entry['seconds']:8.1f} s")


def next_stage(record: dict[str, Any]) -> str:
    """The first stage that a run has yet to finish."""
    from skilljobs.store.run import STAGES

    if record["spec"]["prompts"] != 1:
        return "" if "reduce" in record["stages"] else "the mean over its prompts"
    return next((stage for stage in STAGES if stage not in record["stages"]), "")
