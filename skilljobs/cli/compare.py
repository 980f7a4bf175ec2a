"""`skilljobs compare`."""

import click

from skilljobs.errors import InputError


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN [RUN]")
@click.option("--metric", multiple=True, required=True, metavar="M", help="Of both runs; twice for two metrics.")
@click.option("--population", default="all", show_default=True, metavar="P", help="all, COLUMN=value or within:COLUMN.")
@click.option("-k", default=100, show_default=True, type=click.IntRange(min=1), help="Neurons of either ranking.")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def compare(runs: tuple[str, ...], metric: tuple[str, ...], population: str, k: int, form: str, debug: bool) -> None:
    """Compare two runs, two metrics of a run, or the soft prompts of a run: do they find the same neurons?

    \b
    skilljobs compare runs/ONE runs/OTHER --metric confidence
    skilljobs compare runs/ONE --metric confidence --metric operation=division
    skilljobs compare runs/OF-SEVERAL-PROMPTS --metric confidence
    """
    if len(runs) > 2 or len(metric) > 2:
        raise InputError("compare takes two runs and a metric, one run and two metrics, or a run of several prompts")
    from skilljobs.analysis.comparing import agreement
    from skilljobs.analysis.comparing import compare as compare_runs
    from skilljobs.api import open_run

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
