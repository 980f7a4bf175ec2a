"""`skilljobs effects`."""

from typing import Any

import click

from skilljobs.cli.ablate import open_location
from skilljobs.cli.option_params import declared_command, declared_options_given
from skilljobs.cli.run_names import run_argument
from skilljobs.cli.saying import say
from skilljobs.cli.shared_options import finished_run_options
from skilljobs.plan.effects_spec import EffectsSpec

SHOWN = 20
"""Neurons in the table; all of them are in `effects.parquet`."""


@click.command(cls=declared_command(EffectsSpec))
@run_argument()
@finished_run_options
@click.pass_context
def effects(
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
    """Estimate, for every neuron of a finished run, what setting it to its mean at the soft prompt would do.

    One backward pass a batch gives all neurons at once, to first order: (mean - activation) times the derivative of
    the margin. Choose neurons by half 0, and judge them by half 1; `skilljobs ablate` says what one really does. The
    same command again resumes.

    \b
    skilljobs effects runs/RUN
    skilljobs top runs/RUN --sort effect --metric margin
    """
    spec = EffectsSpec.from_values(declared_options_given(EffectsSpec, options, ctx))
    from skilljobs.api import open_run
    from skilljobs.cluster.authentication import cluster_address
    from skilljobs.cluster.dashboard_jobs import is_dashboard
    from skilljobs.pipeline.effects_job import check_effects, effects_on_cluster, run_effects
    from skilljobs.plan.capacity import Placement

    placement = Placement(cluster_address(address), replicas, None, debug, shard_timeout)
    if is_dashboard(placement.address) and not dry_run:
        from skilljobs.cli.bars import reporter

        with reporter() as shown:  # what it found is printed there, and this machine may not see the run
            effects_on_cluster(open_location(run), spec, placement, trust_remote_code, report, shown)
        return
    opened = open_run(run)
    if dry_run:
        from skilljobs.analysis.effects_cost import effects_cost

        readers, outcome = check_effects(opened, spec)
        cost = effects_cost(readers)
        say(f"effects/{outcome}: {cost.neurons:,} neurons on {cost.examples} examples")
        say(f"  {cost.tokens:,} tokens, about {cost.seconds:,.0f} s at the speed of the run, and loading the model")
        say(f"  about {cost.bytes / 1e6:,.1f} MB")
        return
    from skilljobs.cli.bars import reporter

    with reporter() as shown:
        outcome = run_effects(opened.uri, spec, placement, trust_remote_code, report, shown)
    from skilljobs.analysis.effect_ranking import top_effects
    from skilljobs.cli.effects_table import print_effects

    rows = top_effects(opened, None, k=SHOWN, outcome=outcome)
    print_effects(opened, rows, form, outcome)
