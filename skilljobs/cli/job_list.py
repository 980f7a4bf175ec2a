"""Several jobs of one `skilljobs submit`: which they are, and what is printed of them."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from skilljobs.cli.job_file import JOBS
from skilljobs.cli.saying import say
from skilljobs.errors import InputError, SomeJobsFailed

if TYPE_CHECKING:
    from skilljobs.api import Run


def asked_jobs(ctx: click.Context, given: dict[str, Any]) -> list[dict[str, Any]] | None:
    """The options that each of several jobs has of its own; None if there is one job.

    What makes them several is taken out of `given`, which then are the options of all.

    Raises:
        InputError: the command line and the file both say which jobs there are.
    """
    in_file: list[dict[str, Any]] = ctx.meta.get(JOBS, [])
    if in_file:
        if ctx.get_parameter_source("task") == click.core.ParameterSource.COMMANDLINE:
            raise InputError(f"--task: the file of --config has several jobs, [[{JOBS}]], and says the task of each")
        return in_file
    if isinstance(given.get("task"), tuple):
        return [{"task": task} for task in given.pop("task")]
    return None


def say_plans(jobs: Sequence[Mapping[str, Any]], common: Mapping[str, Any], out: str, where: Mapping[str, Any]) -> None:
    """Print what jobs would do, once everything about them is checked: a line for each, and its command."""
    from skilljobs.cli.bars import reporter
    from skilljobs.plan.capacity import Placement
    from skilljobs.several import check_many

    with reporter() as shown:
        checked = check_many(jobs, common, out, Placement(**where), shown)
    for one in checked:
        say(one.description)
        say(f"  {one.job.command}")


def submit_jobs(
    jobs: Sequence[Mapping[str, Any]], common: Mapping[str, Any], out: str, settings: Mapping[str, Any]
) -> None:
    """Run jobs one after another. Prints the summary of each as it is done, and in the end the directories of all.

    Raises:
        SomeJobsFailed: some could not be finished.
    """
    from skilljobs.api import Run
    from skilljobs.cli.bars import reporter
    from skilljobs.several import submit_many

    failed: SomeJobsFailed | None = None
    try:
        with reporter() as shown:
            runs = submit_many(jobs, out=out, reporter=shown, on_done=print_run, **settings, **common)
    except SomeJobsFailed as error:
        failed, runs = error, list(map(Run, error.uris))
    for run in runs:
        say(run.uri)
    if failed is not None:
        raise failed


def print_run(run: "Run") -> None:
    """Print which run is done, and its summary."""
    from skilljobs.cli.printed_summary import print_summary

    say(f"{run.record.run_id} is done")
    print_summary(run)
