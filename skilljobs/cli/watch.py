"""`skilljobs watch`."""

import shlex
import sys
import time

import click

from skilljobs.cli.jobs import address_option, cluster_jobs


@click.command()
@click.argument("run")
@click.option("--metric", multiple=True, metavar="M", help="Whose neurons; repeat for more.  [default: all]")
@click.option("-k", default=1, show_default=True, type=click.IntRange(min=1), help="Neurons of each metric.")
@click.option("--every", default=10.0, show_default=True, type=click.FloatRange(min=0.1), metavar="SECONDS")
@click.option("--once", is_flag=True, help="Look once, and do not wait for more.")
@address_option
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def watch(
    run: str, metric: tuple[str, ...], k: int, every: float, once: bool, address: str | None, debug: bool
) -> None:
    """Show the strongest neurons so far while a job collects, from the shards that are committed.

    Works on any machine that sees the run's directory, and with --address wherever the cluster is seen; ends when all
    shards are there.

    \b
    skilljobs watch runs/RUN --metric confidence -k 5
    skilljobs watch RUN --address http://HEAD:8265
    """
    if address is not None:
        jobs = cluster_jobs(address)
        command = shlex.join(["watch", jobs.find(run).uri, *(word for name in metric for word in ("--metric", name))])
        words = {"-k": k, "--every": every, "--once": once, "--debug": debug}
        sys.exit(jobs.run_aside(command, words, lambda text: click.echo(text, nl=False)))
    from skilljobs.progress.job_state import progress_of
    from skilljobs.analysis.watching import Watcher
    from skilljobs.api import open_run
    from skilljobs.cli.tables import so_far_table, table_console

    console = table_console()
    opened = open_run(run)
    watcher = Watcher(opened, metric, k)
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
        progress = progress_of(opened)
        if progress is not None and not progress.lives:
            console.print(progress.text)
            return
        time.sleep(every)
