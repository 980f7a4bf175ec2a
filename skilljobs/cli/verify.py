"""`skilljobs verify`."""

import sys

import click

from skilljobs.cli.run_names import run_argument
from skilljobs.cli.saying import say


@click.command()
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
    from skilljobs.store.effect_tables import count_of_effect_files, damaged_effects
    from skilljobs.store.run import RunFiles
    from skilljobs.store.verification import checked_files, damaged_files

    files = RunFiles(run)
    damaged = damaged_files(files, thorough=True)
    for name in damaged:
        say(f"damaged or missing: {name}")
    of_ablations = damaged_ablations(files)
    for name in of_ablations:
        say(f"damaged or missing: {name}")
    of_effects = damaged_effects(files)
    for name in of_effects:
        say(f"damaged or missing: {name}")
    if damaged:
        click.echo("the command that made the run makes them again with --verify, where that is possible")
    if of_ablations:
        click.echo("the `skilljobs ablate` that made an ablation makes its files again")
    if of_effects:
        click.echo("`skilljobs effects` makes the files of estimated effects again")
    if damaged or of_ablations or of_effects:
        sys.exit(1)
    state = "complete" if files.record.is_complete else f"stopped before {files.record.next_stage}"
    count = checked_files(files) + count_of_files(files) + count_of_effect_files(files)
    click.echo(f"{count} files are as they were written; the run is {state}")
