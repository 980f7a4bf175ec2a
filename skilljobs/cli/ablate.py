"""`skilljobs ablate`."""

from typing import Any

import click

from skilljobs.cli.option_params import declared_command, declared_options_given
from skilljobs.cli.run_names import run_argument
from skilljobs.cli.saying import say
from skilljobs.cli.shared_options import finished_run_options
from skilljobs.plan.ablation_spec import AblationSpec


@click.command(cls=declared_command(AblationSpec))
@run_argument()
@finished_run_options
@click.pass_context
def ablate(
    ctx: click.Context,
    /,
    run: str,
    dry_run: bool,
    form: str,
    replicas: int | None,
    shard_timeout: float | None,
    address: str | None,
    trust_remote_code: bool,
    report: bool,
    debug: bool,
    **options: Any,
) -> None:
    """Silence neurons of a finished run, and compare what that does with silencing random ones of the same kind.

    Neurons are ranked on half 0, and what silencing them does is measured on half 1. The same command again resumes.

    \b
    skilljobs ablate runs/RUN --metric confidence --population within:operation -k 1,10,100
    skilljobs ablate runs/RUN --neuron 3/125 --neuron 2/17 --how zero
    skilljobs ablate runs/RUN --specificity operation -k 10
    """
    spec = AblationSpec.from_values(declared_options_given(AblationSpec, options, ctx))
    from skilljobs.api import open_run
    from skilljobs.cluster.authentication import cluster_address
    from skilljobs.cluster.dashboard_jobs import is_dashboard
    from skilljobs.pipeline.ablate_job import ablate_on_cluster, ablate_run, check_request
    from skilljobs.plan.capacity import Placement

    placement = Placement(cluster_address(address), replicas, None, debug, shard_timeout)
    if is_dashboard(placement.address) and not dry_run:
        from skilljobs.cli.bars import reporter

        with reporter() as shown:  # what it found is printed there, and this machine may not see the run
            ablate_on_cluster(open_location(run), spec, placement, trust_remote_code, report, shown)
        return
    opened = open_run(run)
    if dry_run:
        from skilljobs.analysis.ablation_cost import ablation_cost

        readers, ablation, sets = check_request(opened, spec)
        cost = ablation_cost(readers, spec, sets)
        say(f"ablations/{ablation}: {cost.sets} sets on {cost.examples} examples of half 1")
        say(f"  {cost.tokens:,} tokens, about {cost.seconds:,.0f} s at the speed of the run, and loading the model")
        say(f"  about {cost.bytes / 1e6:,.1f} MB")
        return
    from skilljobs.cli.bars import reporter

    with reporter() as shown:
        rows = ablate_run(opened.uri, spec, placement, trust_remote_code, report, shown)
    from skilljobs.cli.ablation_table import print_ablation

    print_ablation(rows, form, spec.specificity)


def open_location(run: str) -> str:
    """The run's URI, or the absolute path of its directory, which the cluster must see under the same name."""
    from skilljobs.store.reader import RunReader

    return RunReader(run).uri
