"""`skilljobs doctor`."""

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from skilljobs.pipeline.diagnosis import Finding


@click.command()
@click.option("--model", metavar="ID-or-DIR", help="Also check that this model can be found and fits.")
@click.option("--address", metavar="URL", help="Check the machines of this cluster instead, http://HEAD:8265.")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def doctor(model: str | None, address: str | None, debug: bool) -> None:
    """Check this machine or those of a cluster: versions, cores, memory, GPUs, the model hub, and whether a model fits.

    The exit code is 1 if there is a problem that would make a job fail.

    \b
    skilljobs doctor
    skilljobs doctor --model ./gemma-3-270m
    skilljobs doctor --address http://HEAD:8265 --model /shared/gemma-3-270m
    """
    from skilljobs.cluster.dashboard_jobs import ClusterJobs, is_dashboard
    from skilljobs.pipeline.diagnosis import examine, examine_cluster

    if is_dashboard(address):
        options = {"--address": "auto", "--model": model, "--debug": debug}
        sys.exit(ClusterJobs(str(address)).run_aside("doctor", options, lambda text: click.echo(text, nl=False)))
    failed = _show(examine_cluster(address, model) if address else examine(model))
    sys.exit(1 if failed else 0)


def _show(findings: Iterable["Finding"]) -> bool:
    """Print findings, with those of each machine below its name, and return whether any of them is an error."""
    failed, host = False, ""
    for finding in findings:
        failed |= finding.level == "error"
        if finding.host and finding.host != host:
            click.echo(f"{finding.host}:")
        host = finding.host
        mark = {"ok": "ok", "warning": "!", "error": "ERROR"}[finding.level]
        indent = "  " if host else ""
        click.echo(f"{indent}{mark:<6}{finding.about:<14}{finding.text}")
        if finding.advice:
            click.echo(f"{indent}{'':<20}{finding.advice}")
    return failed
