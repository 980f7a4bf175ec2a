"""`skilljobs compare`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from skilljobs.cli.options_once import OptionsOnce
from skilljobs.cli.run_names import run_argument
from skilljobs.cli.shared_options import metrics_option, population_option
from skilljobs.errors import InputError

if TYPE_CHECKING:
    from skilljobs.store.reader import RunReader


@click.command(cls=OptionsOnce)
@run_argument("runs", nargs=-1, required=True, metavar="RUN|SERIES [RUN]...")
@metrics_option("A metric of each run; repeat to compare.", required=True)
@population_option
@click.option("-k", default=100, show_default=True, type=click.IntRange(min=1), help="Top neurons of each ranking.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="What is printed.",
)
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def compare(runs: tuple[str, ...], metric: tuple[str, ...], population: str, k: int, form: str, debug: bool) -> None:
    """Compare runs, the metrics of a run, or its soft prompts, to see whether they find the same neurons.

    Three runs or more, or a series that `sweep` has made, are compared model by model, each with the last one.

    A category or a set of skills (asked) stands for all its metrics. For these, the output is how many of their top
    neurons each pair of metrics shares, and the r of each metric's top neurons with the other metrics held fixed.

    \b
    skilljobs compare runs/ONE runs/OTHER --metric confidence
    skilljobs compare runs/ONE --metric confidence --metric operation=division
    skilljobs compare runs/ONE --metric asked
    skilljobs compare runs/OF-SEVERAL-PROMPTS --metric confidence
    skilljobs compare runs/STEP-1000 runs/STEP-4000 runs/STEP-16000 --metric confidence
    skilljobs compare runs/SERIES --metric confidence
    """
    if len(runs) == 2 and len(metric) > 2:
        raise InputError(
            "compare takes two runs and one or two metrics, one run and several metrics,"
            " one run of several soft prompts and one metric, or three runs or more"
        )
    from skilljobs.store.series_files import SeriesFiles

    if len(runs) > 2 or (len(runs) == 1 and SeriesFiles(runs[0]).exists):
        _compare_series(runs, metric, population, k, form)
        return
    from skilljobs.analysis.comparing import agreement
    from skilljobs.analysis.comparing import compare as compare_runs
    from skilljobs.api import open_run

    if len(runs) == 1:
        run = open_run(runs[0])
        known = {entry.name for entry in run.layout().metrics}
        if len(metric) > 2 or (len(metric) == 1 and metric[0] not in known):
            _compare_metrics(run, metric, population, k, form)
            return
    if len(runs) == len(metric) == 1:
        pairs = agreement(open_run(runs[0]), metric[0], population, k)
        if form == "json":
            import json

            click.echo(json.dumps(pairs.to_dicts(), indent=2))
            return
        from skilljobs.cli.tables import agreement_table, table_console

        table_console().print(agreement_table(pairs, f"agreement of soft prompts: {metric[0]}, {population}"))
        return

    first, second = open_run(runs[0]), open_run(runs[-1])
    comparison = compare_runs(first, second, metric[0], metric[-1], population, k)
    if form == "json":
        import json

        click.echo(json.dumps(comparison.figures() | {"shared": comparison.shared.to_dicts()}, indent=2))
        return
    correlation = "undefined" if comparison.r_correlation is None else f"{comparison.r_correlation:+.3f}"
    click.echo(f"{comparison.neurons} neurons; correlation of r over neurons: {correlation}")
    click.echo(
        f"top {comparison.k}: {comparison.overlap} in both, {comparison.expected_overlap:.2g} expected by chance"
        f" (hypergeometric p = {comparison.p:.1e})"
    )
    from skilljobs.analysis.distributions import neuron_text

    for row in comparison.shared.head(10).iter_rows(named=True):
        click.echo(f"  {neuron_text(row)}  r {row['r_first']:+.3f} and {row['r_second']:+.3f}")


def _compare_series(runs: Sequence[str], metrics: Sequence[str], population: str, k: int, form: str) -> None:
    from skilljobs.series import open_series, series_of_runs

    series = open_series(runs[0]) if len(runs) == 1 else series_of_runs(runs)
    if form == "json":
        import json

        tables = {metric: series.emergence(metric, population, k).to_dicts() for metric in metrics}
        said = {metric: series.conclusions(metric, population) for metric in metrics}
        found = [{"metric": metric, "models": tables[metric], "conclusions": said[metric]} for metric in metrics]
        click.echo(json.dumps(found, indent=2))
        return
    from skilljobs.cli.series_table import print_series

    print_series(series, metrics, population, k)


def _compare_metrics(run: "RunReader", metrics: Sequence[str], population: str, k: int, form: str) -> None:
    from skilljobs.analysis.overlap import (
        are_levels_of_one_category,
        correlations_given_others,
        expected_overlap,
        level_metrics,
        overlap,
    )

    chosen = level_metrics(run, metrics[0]) if len(metrics) == 1 else list(metrics)
    shared = overlap(run, chosen, population, k)
    if not are_levels_of_one_category(run, chosen):
        run.require_sums()
    given_others = correlations_given_others(run, chosen, population)
    if form == "json":
        import json

        click.echo(json.dumps({"overlap": shared.to_dicts(), "given_others": given_others.to_dicts()}, indent=2))
        return
    from skilljobs.cli.tables import given_others_table, overlap_table, table_console

    console = table_console()
    expected = expected_overlap(run, chosen, population, k)
    console.print(overlap_table(shared, f"neurons in the top {k} of both, {population} ({expected:.2g} by chance)"))
    if given_others["r_given_others"].null_count() == len(given_others):
        one_category = are_levels_of_one_category(run, chosen)
        reason = "are levels of one category" if one_category else "have values for different examples"
        console.print(f"r is undefined for every metric when the others are held fixed, because they {reason}")
        return
    title = f"the strongest neurons of each metric, with the others held fixed, {population}"
    console.print(given_others_table(given_others, title))
