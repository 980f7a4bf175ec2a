"""`skilljobs export`."""

import click

from skilljobs.cli.options_once import OptionsOnce
from skilljobs.cli.run_names import complete_metrics, run_argument
from skilljobs.cli.shared_options import population_option


@click.command(cls=OptionsOnce)
@run_argument()
@click.option("--metric", required=True, metavar="M", help="A metric of the run.", shell_complete=complete_metrics)
@population_option
@click.option("-k", default=50, show_default=True, type=click.IntRange(min=1), help="How many neurons.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["hooks", "transformerlens", "nnsight", "csv"]),
    default="hooks",
    show_default=True,
    help="A program that reads the neurons with this library (hooks: plain transformers), or a table of their places.",
)
@click.option("--output", metavar="FILE", help="Write to this file.  [default: standard output]")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def export(run: str, metric: str, population: str, k: int, form: str, output: str | None, debug: bool) -> None:
    """Export the neurons that correlate most strongly with a metric: the modules and places where they are read.

    A program reads their activations without skilljobs; run as a script, it compares some of them with those that the
    run has stored. The run's model must be here.

    \b
    skilljobs export runs/RUN --metric confidence -k 20 --output neurons.py && python neurons.py
    skilljobs export runs/RUN --metric confidence --population within:operation --format csv
    """
    from skilljobs.api import open_run
    from skilljobs.cli.saying import say
    from skilljobs.errors import InputError

    text = open_run(run).export(metric, population, k, form)
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        with open(output, "w", encoding="utf-8", newline="") as file:
            file.write(text)
    except OSError as error:
        raise InputError(f"--output {output}: {error.strerror or error}") from None
    say(f"written to {output}", err=True)
