"""`skilljobs plot` and `skilljobs report`."""

import click

from skilljobs.cli.options_once import OptionsOnce
from skilljobs.cli.run_names import run_argument
from skilljobs.cli.saying import say
from skilljobs.cli.shared_options import metrics_option


@click.command(cls=OptionsOnce)
@run_argument()
@metrics_option("Metric to draw; repeat for more.  [default: the main ones]")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def plot(run: str, metric: tuple[str, ...], debug: bool) -> None:
    """Draw the figures of a run into its folder `figures`, as PNG and SVG.

    The figures are histograms of r with the top-10 threshold and the null threshold, r by layer, heat maps of neurons
    and metrics, and the distributions of the top neurons' activations by group. Of a series, the figure is r by model.

    \b
    skilljobs plot runs/RUN
    skilljobs plot runs/RUN --metric confidence --metric last_digit_decides
    skilljobs plot runs/SERIES --metric confidence
    """
    from skilljobs.store.series_files import SeriesFiles

    if SeriesFiles(run).exists:
        _plot_series(run, metric)
        return
    from skilljobs.api import open_run
    from skilljobs.report.figures import draw_figures
    from skilljobs.store.run import FIGURES
    from skilljobs.uris import child_uri

    opened = open_run(run)
    for figure in draw_figures(opened, metric):
        say(child_uri(opened.uri, f"{FIGURES}/{figure.name}.png"), err=True)
    say(child_uri(opened.uri, FIGURES))


def _plot_series(uri: str, metrics: tuple[str, ...]) -> None:
    from skilljobs.cli.series_table import title_metric
    from skilljobs.series import open_series
    from skilljobs.store.run import FIGURES
    from skilljobs.uris import child_uri

    series = open_series(uri)
    for figure in series.draw(metrics or [title_metric(series)]):
        say(child_uri(series.uri, f"{FIGURES}/{figure.name}.png"), err=True)
    say(child_uri(series.uri, FIGURES))


@click.command(cls=OptionsOnce)
@run_argument()
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def report(run: str, debug: bool) -> None:
    """Write a run's report as one self-contained HTML page, and draw its figures anew.

    \b
    skilljobs report runs/RUN
    """
    from skilljobs.api import open_run
    from skilljobs.report.refresh import refresh_report

    click.echo(refresh_report(open_run(run)))
