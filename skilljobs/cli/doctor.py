"""`skilljobs doctor`."""

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from skilljobs.cli.options_once import OptionsOnce
from skilljobs.errors import InputError

if TYPE_CHECKING:
    from skilljobs.pipeline.diagnosis import Finding


@click.command(cls=OptionsOnce)
@click.option("--model", metavar="ID-or-DIR", help="Also load this model, and check that it fits and is read right.")
@click.option("--ffn", metavar="PATTERN", help="Where the model's neurons are, as for submit.")
@click.option("--architectures", is_flag=True, help="List the architectures whose neurons are found, and nothing else.")
@click.option("--address", metavar="URL", help="Check the machines of this cluster instead, http://HEAD:8265.")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def doctor(model: str | None, ffn: str | None, architectures: bool, address: str | None, debug: bool) -> None:
    """Check this machine or those of a cluster: versions, cores, memory, GPUs, the model hub, and whether a model fits.

    With --model the verdict is that of submit: the model is loaded, and what is read of it is compared with a plain
    forward pass. The exit code is 1 if there is a problem that would make a job fail.

    \b
    skilljobs doctor
    skilljobs doctor --model ./gemma-3-270m
    skilljobs doctor --architectures
    skilljobs doctor --address http://HEAD:8265 --model /shared/gemma-3-270m
    """
    if ffn is not None and model is None:
        raise InputError("--ffn is about a model: say which one (--model)")
    if architectures:
        from skilljobs.cli.architecture_table import print_architectures

        print_architectures()
        return
    from skilljobs.cluster.dashboard_jobs import ClusterJobs, is_dashboard
    from skilljobs.pipeline.diagnosis import examine, examine_cluster

    if is_dashboard(address):
        options = {"--address": "auto", "--model": model, "--ffn": ffn, "--debug": debug}
        sys.exit(ClusterJobs(str(address)).run_aside("doctor", options, lambda text: click.echo(text, nl=False)))
    failed = _show(examine_cluster(address, model, ffn) if address else examine(model, ffn))
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
