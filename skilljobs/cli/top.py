"""`skilljobs top`."""

from typing import TYPE_CHECKING

import click

from skilljobs.cli.options_once import OptionsOnce
from skilljobs.cli.run_names import complete_metrics, run_argument
from skilljobs.cli.shared_options import format_option, population_option
from skilljobs.errors import InputError
from skilljobs.printable import printable

if TYPE_CHECKING:
    from rich.console import Console


@click.command(cls=OptionsOnce)
@run_argument()
@click.option(
    "--metric",
    metavar="M",
    help="A metric of the run; with --sort effect, by default what the effects are on.",
    shell_complete=complete_metrics,
)
@population_option
@click.option("-k", default=20, show_default=True, type=click.IntRange(min=1), help="How many neurons.")
@click.option("--per", type=click.Choice(["layer"]), help="Show the strongest neurons of each layer.")
@click.option("--given", multiple=True, metavar="M2", help="Hold this metric fixed (partial correlation).")
@click.option(
    "--sort",
    type=click.Choice(["r", "predictivity", "effect"]),
    default="r",
    show_default=True,
    help="What neurons are ranked by.",
)
@format_option
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def top(
    run: str,
    metric: str | None,
    population: str,
    k: int,
    per: str | None,
    given: tuple[str, ...],
    sort: str,
    form: str,
    debug: bool,
) -> None:
    """Show the neurons that correlate most strongly with a metric, largest |r| first.

    The interval of a top-ranked neuron is optimistic, so the table also shows r on each half. Neurons that are not
    above the null threshold are marked. With --sort effect, those of largest estimated effect (`skilljobs effects`) are
    chosen by half 0 and shown as half 1 has them, with r beside them.

    \b
    skilljobs top runs/RUN --metric confidence --population within:operation -k 10
    skilljobs top runs/RUN --metric confidence --given answer_length --given operation
    skilljobs top runs/RUN --sort effect
    """
    from skilljobs.analysis.conclusions import of_ranking
    from skilljobs.analysis.null_thresholds import NullThresholds
    from skilljobs.analysis.ranking import predictivity_of_majority
    from skilljobs.analysis.ranking import top as top_neurons
    from skilljobs.api import open_run

    opened = open_run(run)
    if sort == "effect":
        from skilljobs.analysis.effect_ranking import default_outcome, metric_of, top_effects
        from skilljobs.cli.effects_table import print_effects

        outcome = default_outcome(opened)
        metric = metric or metric_of(opened, outcome)
        print_effects(opened, top_effects(opened, metric, population, k, given, per == "layer"), form, outcome)
        return
    if metric is None:
        raise InputError("say which metric: --metric M")
    rows = top_neurons(opened, metric, population, k, given, per_layer=per == "layer", sort=sort)
    if form == "json":
        import json

        click.echo(json.dumps(rows.to_dicts(), indent=2))
    elif form == "csv":
        click.echo(rows.write_csv(), nl=False)
    else:
        from skilljobs.cli.tables import neuron_table, null_text, table_console

        console = table_console()
        if rows.is_empty():
            reason = (
                "the metric is constant there" if sort == "r" else "the metric is constant there, or no yes/no metric"
            )
            reason += ", or is all told by the metrics held fixed" if given else ""
            text = f"{metric}, {population}: {sort} is undefined for every neuron ({reason})"
            console.print(printable(text))
            return
        condition = f", given {', '.join(given)}" if given else ""
        title = f"{metric}, {population}{condition}"
        if sort == "predictivity":
            console.print(neuron_table(rows, title, console))
            _print_majority(console, predictivity_of_majority(opened, metric, population))
            return
        thresholds = NullThresholds(opened)
        threshold = thresholds.of(metric, population, given)
        for sentence in of_ranking(opened, rows, metric, population, given, thresholds, threshold):
            console.print(printable(sentence), soft_wrap=True)
        console.print(neuron_table(rows, title, console, threshold))
        console.print(printable(null_text(threshold)), soft_wrap=True)
        if opened.record.units_repeat:
            console.print("examples share units, so p and q are too small; the null threshold respects units")


def _print_majority(console: "Console", majority: float | None) -> None:
    if majority is not None:
        console.print(
            f"predictivity is |accuracy - 1/2| on half 1; always giving the more frequent answer has {majority:.3f}"
        )
