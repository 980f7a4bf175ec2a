"""`skilljobs plot` and `skilljobs report`."""

import click


@click.command()
@click.argument("run")
@click.option("--metric", multiple=True, metavar="M", help="What to draw; repeat for more.  [default: the usual ones]")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def plot(run: str, metric: tuple[str, ...], debug: bool) -> None:
    """Draw the figures of a run into its folder `figures`, as PNG and SVG.

    Histograms of r with the thresholds of the top 10 and of the null, r by layer, neurons by metrics, and the
    distribution of the top neurons' activations by group.

    \b
    skilljobs plot runs/RUN
    skilljobs plot runs/RUN --metric confidence --metric last_digit_decides
    """
    from skilljobs.api import open_run
    from skilljobs.report.figures import draw_figures
    from skilljobs.store.run import FIGURES

    opened = open_run(run)
    for drawn in draw_figures(opened, metric):
        click.echo(f"{opened.uri}/{FIGURES}/{drawn.name}.png", err=True)
    click.echo(f"{opened.uri}/{FIGURES}")


@click.command()
@click.argument("run")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def report(run: str, debug: bool) -> None:
    """Write a run's report: one HTML page that needs nothing else.

    \b
    skilljobs report runs/RUN
    """
    from skilljobs.api import open_run
    from skilljobs.report.page import write_report

    click.echo(write_report(open_run(run)))
