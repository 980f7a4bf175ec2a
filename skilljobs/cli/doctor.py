"""`skilljobs doctor`."""

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from skilljobs.pipeline.diagnosis import Finding


@click.command()
@click.option("--model", metavar="ID-or-DIR", help="Also look at this model: does it resolve, does it fit?")
@click.option("--address", metavar="URL", help="Look at the machines of this cluster, http://HEAD:8265, and not here.")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def doctor(model: str | None, address: str | None, debug: bool) -> None:
    """Look at this machine, or at those of a cluster: versions, cores, memory, GPUs, the model hub; does a model fit?

    Exit code 1 if something is wrong that a job would stumble over.

    \b
    skilljobs doctor
    skilljobs doctor --model ./gemma-3-270m
    skilljobs doctor --address http://HEAD:8265 --model /shared/gemma-3-270m
    """
    from skilljobs.cluster.dashboard_jobs import ClusterJobs, is_dashboard
    from skilljobs.pipeline.diagnosis import examine, examine_cluster

    if is_dashboard(address):
        words = {"--address": "auto", "--model": model, "--debug": debug}
        sys.exit(ClusterJobs(str(address)).run_aside("doctor", words, lambda text: click.echo(text, nl=False)))
    wrong = _show(examine_cluster(address, model) if address else examine(model))
    sys.exit(1 if wrong else 0)


def _show(findings: Iterable["Finding"]) -> bool:
    """Print findings, those of a machine below its name. Returns whether one is an error."""
    wrong, host = False, ""
    for finding in findings:
        wrong |= finding.level == "error"
        if finding.host and finding.host != host:
            click.echo(f"{finding.host}:")
        host = finding.host
        mark = {"ok": "ok", "warning": "!", "error": "ERROR"}[finding.level]
        indent = "  " if host else ""
        click.echo(f"{indent}{mark:<6}{finding.about:<14}{finding.text}")
        if finding.advice:
            click.echo(f"{indent}{'':<20}{finding.advice}")
    return wrong
