"""`skilljobs clean`."""

import click

from skilljobs.cli.options_once import OptionsOnce
from skilljobs.cli.run_names import run_argument
from skilljobs.cli.saying import say


@click.command(cls=OptionsOnce)
@run_argument()
@click.option("--shards", is_flag=True, help="Drop the sums of all shards.")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def clean(run: str, shards: bool, debug: bool) -> None:
    """Drop what the results of a finished run can be read without, and say what is then lost.

    With --shards, the sums of all shards are deleted, which are most of a run. Correlations, the report, scores and
    examples stay, and `ablate` still works.

    \b
    skilljobs clean runs/RUN --shards
    """
    from skilljobs.errors import InputError
    from skilljobs.progress.lease import RunLease
    from skilljobs.store.cleaning import LOST, drop_sums
    from skilljobs.store.run import RunFiles

    if not shards:
        raise InputError("say what to drop: --shards drops the sums of all shards")
    files = RunFiles(run)
    _ = files.record
    with RunLease(files.folder, lambda note: say(note, err=True)) as lease:
        lease.acquire()
        dropped = drop_sums(files)
    say(f"{dropped.files} files of sums dropped, {dropped.size / 1e6:.1f} MB; what is lost with them:")
    for what in LOST:
        say(f"  {what}")
