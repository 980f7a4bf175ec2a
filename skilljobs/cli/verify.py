"""`skilljobs verify`."""

import sys
from itertools import chain

import click

from skilljobs.cli.options_once import OptionsOnce
from skilljobs.cli.run_names import run_argument
from skilljobs.cli.saying import say


@click.command(cls=OptionsOnce)
@run_argument()
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def verify(run: str, debug: bool) -> None:
    """Check that no file of a run is damaged: each is compared with what the stage that wrote it recorded.

    Exit code 1 if a file is missing or changed. `skilljobs submit --verify`, with the options that made the run, makes
    again what can be made again.

    \b
    skilljobs verify runs/RUN
    """
    from skilljobs.store.ablation_tables import count_of_files, damaged_ablations
    from skilljobs.store.cleaning import SUMS_DROPPED
    from skilljobs.store.effect_tables import count_of_effect_files, damaged_effects
    from skilljobs.store.run import RunFiles
    from skilljobs.store.shortcut_files import count_of_shortcut_files, damaged_shortcuts
    from skilljobs.store.verification import checked_files, damaged_files

    files = RunFiles(run)
    damaged = damaged_files(files, thorough=True)
    others = {
        "the `skilljobs ablate` that made an ablation makes its files again": damaged_ablations(files),
        "`skilljobs effects` makes the files of estimated effects again": damaged_effects(files),
        "the `skilljobs shortcuts` that made a search makes its files again": damaged_shortcuts(files),
    }
    for name in (*damaged, *chain.from_iterable(others.values())):
        say(f"damaged or missing: {name}")
    if damaged:
        click.echo("the command that made the run makes them again with --verify, where that is possible")
    for way_on, names in others.items():
        if names:
            click.echo(way_on)
    if damaged or any(others.values()):
        sys.exit(1)
    state = "complete" if files.record.is_complete else f"stopped before {files.record.next_stage}"
    dropped = f"; {SUMS_DROPPED}" if files.record.sums_dropped else ""
    count = sum(of(files) for of in (checked_files, count_of_files, count_of_effect_files, count_of_shortcut_files))
    click.echo(f"{count} files are as they were written; the run is {state}{dropped}")
