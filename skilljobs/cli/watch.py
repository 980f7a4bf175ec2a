"""`skilljobs watch`."""

import shlex
import sys
import time

import click

from skilljobs.cli.jobs import address_option, cluster_jobs
from skilljobs.cli.options_once import OptionsOnce
from skilljobs.cli.run_names import run_argument
from skilljobs.cli.shared_options import metrics_option
from skilljobs.printable import printable


@click.command(cls=OptionsOnce)
@run_argument()
@metrics_option("Metric to show; repeat for more.  [default: all]")
@click.option("-k", default=1, show_default=True, type=click.IntRange(min=1), help="Neurons of each metric.")
@click.option(
    "--every",
    default=10.0,
    show_default=True,
    type=click.FloatRange(min=0.1),
    metavar="SECONDS",
    help="Time between two looks.",
)
@click.option("--once", is_flag=True, help="Show the current state once and exit.")
@address_option
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def watch(
    run: str, metric: tuple[str, ...], k: int, every: float, once: bool, address: str | None, debug: bool
) -> None:
    """Show the strongest neurons so far while a run is being collected, from the shards committed so far.

    This works on any machine that can read the run's directory, or with --address on any machine that can reach the
    cluster. It ends when all shards are committed.

    \b
    skilljobs watch runs/RUN --metric confidence -k 5
    skilljobs watch RUN --address http://HEAD:8265
    """
    if address is not None:
        jobs = cluster_jobs(address)
        command = shlex.join(["watch", jobs.find(run).uri, *(word for name in metric for word in ("--metric", name))])
        options = {"-k": k, "--every": every, "--once": once, "--debug": debug}
        sys.exit(jobs.run_aside(command, options, lambda text: click.echo(text, nl=False)))
    from skilljobs.analysis.watching import Watcher
    from skilljobs.api import open_run
    from skilljobs.cli.tables import snapshot_table, table_console
    from skilljobs.progress.job_state import job_state

    console = table_console()
    opened = open_run(run)
    watcher = Watcher(opened, metric, k)
    printed = -1
    while True:
        snapshot = watcher.update()
        if snapshot.shards > printed or once:
            printed = snapshot.shards
            title = (
                f"{snapshot.shards} of {snapshot.total_shards} shards,"
                f" {snapshot.examples} of {snapshot.total_examples} examples"
            )
            if snapshot.top is None:
                console.print(f"{title}: no correlations yet")
            else:
                console.print(snapshot_table(snapshot.top, title))
        if once or snapshot.shards == snapshot.total_shards:
            return
        state = job_state(opened.folder)
        if state is not None and not state.is_running:
            console.print(printable(state.text))
            return
        time.sleep(every)
