"""Options that several commands have."""

from collections.abc import Callable
from typing import Any

import click

from skilljobs.cli.run_names import complete_metrics, complete_populations

Decorator = Callable[[Any], Any]

replicas_option: Decorator = click.option(
    "--replicas", type=click.IntRange(min=1), metavar="N", help="Scorers.  [default: as many as fit]"
)
shard_timeout_option: Decorator = click.option(
    "--shard-timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="S",
    help="Seconds until a shard is given to another scorer too.  [default: ten times the slowest so far, at least 60]",
)
cluster_option: Decorator = click.option(
    "--address",
    metavar="URL",
    is_eager=True,
    help="The dashboard of a cluster, http://HEAD:8265.  [default: RAY_ADDRESS, or this machine]",
)


def metrics_option(help_text: str, required: bool = False) -> Decorator:
    """The option that names metrics of the run, each given again."""
    return click.option(
        "--metric", multiple=True, required=required, metavar="M", help=help_text, shell_complete=complete_metrics
    )


population_option: Decorator = click.option(
    "--population",
    default="all",
    show_default=True,
    metavar="P",
    help="all, COLUMN=value or within:COLUMN.",
    shell_complete=complete_populations,
)


format_option = click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "csv"]),
    default="table",
    show_default=True,
    help="What is printed.",
)


def finished_run_options(command: Any) -> Any:
    """The options of every command that is a job on a finished run, beside those that its spec declares."""
    options: tuple[Decorator, ...] = (
        click.option("--dry-run", is_flag=True, help="Show what it would cost, and do nothing."),
        format_option,
        replicas_option,
        shard_timeout_option,
        cluster_option,
        click.option(
            "--trust-remote-code", is_flag=True, help="Run the Python code of a model that the run used with it."
        ),
        click.option("--report/--no-report", default=True, help="Write the run's report anew, with this in it."),
        click.option("--debug", is_flag=True, help="Show tracebacks and the workers' logs."),
    )
    for option in reversed(options):
        command = option(command)
    return command
