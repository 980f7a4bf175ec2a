"""`skilljobs compare`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from skilljobs.errors import InputError

if TYPE_CHECKING:
    from skilljobs.store.reader import RunReader


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN [RUN]")
@click.option("--metric", multiple=True, required=True, metavar="M", help="Of both runs; repeat to compare metrics.")
@click.option("--population", default="all", show_default=True, metavar="P", help="all, COLUMN=value or within:COLUMN.")
@click.option("-k", default=100, show_default=True, type=click.IntRange(min=1), help="Neurons of either ranking.")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def compare(runs: tuple[str, ...], metric: tuple[str, ...], population: str, k: int, form: str, debug: bool) -> None:
    """Compare two runs, metrics of a run, or the soft prompts of a run: do they find the same neurons?

    A category or a set of skills (asked) stands for all its metrics: how many of their top neurons every two share, and
    which r is left to each metric's top neurons when the other metrics are held fixed.

    \b
    skilljobs compare runs/ONE runs/OTHER --metric confidence
    skilljobs compare runs/ONE --metric confidence --metric operation=division
    skilljobs compare runs/ONE --metric asked
    skilljobs compare runs/OF-SEVERAL-PROMPTS --metric confidence
    """
    if len(runs) > 2 or (len(runs) == 2 and len(metric) > 2):
        raise InputError("compare takes two runs and a metric, one run and some metrics, or a run of several prompts")
    from skilljobs.analysis.comparing import agreement
    from skilljobs.analysis.comparing import compare as compare_runs
    from skilljobs.api import open_run

    if len(runs) == 1:
        one = open_run(runs[0])
        named = {known.name for known in one.layout().metrics}
        if len(metric) > 2 or (len(metric) == 1 and metric[0] not in named):
            _compare_metrics(one, metric, population, k, form)
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
    found = compare_runs(first, second, metric[0], metric[-1], population, k)
    if form == "json":
        import json

        click.echo(json.dumps(found.figures() | {"shared": found.shared.to_dicts()}, indent=2))
        return
    correlation = "undefined" if found.r_correlation is None else f"{found.r_correlation:+.3f}"
    click.echo(f"{found.neurons} neurons; correlation of r over neurons: {correlation}")
    click.echo(
        f"top {found.k}: {found.overlap} in both, {found.expected_overlap:.2g} expected by chance"
        f" (hypergeometric p = {found.p:.1e})"
    )
    for row in found.shared.head(10).iter_rows(named=True):
        click.echo(f"  layer {row['layer']} neuron {row['neuron']}  r {row['r_first']:+.3f} and {row['r_second']:+.3f}")


def _compare_metrics(run: "RunReader", metrics: Sequence[str], population: str, k: int, form: str) -> None:
    from skilljobs.analysis.overlap import (
        beside_the_others,
        expected_overlap,
        level_metrics,
        levels_of_a_category,
        overlap,
    )

    chosen = level_metrics(run, metrics[0]) if len(metrics) == 1 else list(metrics)
    shared = overlap(run, chosen, population, k)
    beside = beside_the_others(run, chosen, population)
    if form == "json":
        import json

        click.echo(json.dumps({"overlap": shared.to_dicts(), "given_others": beside.to_dicts()}, indent=2))
        return
    from skilljobs.cli.tables import beside_table, overlap_table, table_console

    console = table_console()
    expected = expected_overlap(run, chosen, population, k)
    console.print(overlap_table(shared, f"neurons in the top {k} of both, {population} ({expected:.2g} by chance)"))
    if beside["r_given_others"].null_count() == len(beside):
        why = "are levels of one category" if levels_of_a_category(run, chosen) else "have values for other examples"
        console.print(f"none has an r that is left when the others are held fixed: they {why}")
        return
    console.print(beside_table(beside, f"the strongest neurons of each, the others held fixed, {population}"))
