"""`skilljobs doctor`."""

import sys

import click


@click.command()
@click.option("--model", metavar="ID-or-DIR", help="Also look at this model: does it resolve, does it fit?")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def doctor(model: str | None, debug: bool) -> None:
    """Look at this machine: versions, cores, memory, GPUs, the model hub; and whether a model and its sums fit.

    Exit code 1 if something is wrong that a job would stumble over.

    \b
    skilljobs doctor
    skilljobs doctor --model ./gemma-3-270m
    """
    from skilljobs.engine.doctor import examine

    wrong = False
    for finding in examine(model):
        wrong |= finding.level == "error"
        mark = {"ok": "ok", "warning": "!", "error": "ERROR"}[finding.level]
        click.echo(f"{mark:<6}{finding.about:<14}{finding.text}")
        if finding.advice:
            click.echo(f"{'':<20}{finding.advice}")
    sys.exit(1 if wrong else 0)
