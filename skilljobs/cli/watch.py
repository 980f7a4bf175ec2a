"""`skilljobs watch`."""

import time

import click


@click.command()
@click.argument("run")
@click.option("--metric", multiple=True, metavar="M", help="Whose neurons; repeat for more.  [default: all]")
@click.option("-k", default=1, show_default=True, type=click.IntRange(min=1), help="Neurons of each metric.")
@click.option("--every", default=10.0, show_default=True, type=click.FloatRange(min=0.1), metavar="SECONDS")
@click.option("--once", is_flag=True, help="Look once, and do not wait for more.")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def watch(run: str, metric: tuple[str, ...], k: int, every: float, once: bool, debug: bool) -> None:
    """Show the strongest neurons so far while a job collects, from the shards that are committed.

    Works on any machine that sees the run's directory; ends when all shards are there.

    \b
    skilljobs watch runs/RUN --metric confidence -k 5
    """
    from skilljobs.analysis.watching import Watcher
    from skilljobs.api import open_run
    from skilljobs.cli.tables import so_far_table, table_console

    console = table_console()
    watcher = Watcher(open_run(run), metric, k)
    shown = -1
    while True:
        found = watcher.look()
        if found.shards > shown or once:
            shown = found.shards
            about = f"{found.shards} of {found.of_shards} shards, {found.examples} of {found.of_examples} examples"
            if found.top is None:
                console.print(f"{about}: no correlations yet")
            else:
                console.print(so_far_table(found.top, about))
        if once or found.shards == found.of_shards:
            return
        time.sleep(every)
