"""`skilljobs shortcuts`."""

from typing import Any

import click

from skilljobs.cli.ablate import open_location
from skilljobs.cli.option_params import declared_command, declared_options_given
from skilljobs.cli.run_names import run_argument
from skilljobs.cli.saying import say
from skilljobs.cli.shared_options import finished_run_options
from skilljobs.plan.shortcuts_spec import ShortcutsSpec


@click.command(cls=declared_command(ShortcutsSpec))
@run_argument()
@finished_run_options
@click.pass_context
def shortcuts(
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
    """Look for properties of the examples that neurons of a finished run follow, and say which are shortcuts.

    Properties are found on half 0 and judged on half 1. One is a shortcut if a neuron follows it, if the model is led
    by it, and if silencing the neurons that follow it lowers that more than silencing random ones. The same command
    again resumes.

    \b
    skilljobs shortcuts runs/RUN --metric confidence --population within:operation
    skilljobs shortcuts runs/RUN --neuron 3/125 --property properties.py:names_a_city
    skilljobs shortcuts runs/RUN --metric confidence --data matched.jsonl
    """
    spec = ShortcutsSpec.from_values(declared_options_given(ShortcutsSpec, options, ctx))
    from skilljobs.api import open_run
    from skilljobs.cluster.authentication import cluster_address
    from skilljobs.cluster.dashboard_jobs import is_dashboard
    from skilljobs.pipeline.shortcuts_job import check_search, find_shortcuts, shortcuts_on_cluster
    from skilljobs.plan.capacity import Placement

    placement = Placement(cluster_address(address), replicas, None, debug, shard_timeout)
    if is_dashboard(placement.address) and not dry_run:
        from skilljobs.cli.bars import reporter

        with reporter() as shown:  # what it found is printed there, and this machine may not see the run
            shortcuts_on_cluster(open_location(run), spec, placement, trust_remote_code, report, shown)
        return
    opened = open_run(run)
    if dry_run:
        from skilljobs.analysis.shortcuts_cost import cost_lines

        readers, search = check_search(opened, spec)
        for line in cost_lines(readers, spec, search):
            say(line)
        return
    from skilljobs.cli.bars import reporter

    with reporter() as shown:
        rows = find_shortcuts(opened.uri, spec, placement, trust_remote_code, report, shown)
    from skilljobs.cli.shortcuts_table import print_shortcuts

    print_shortcuts(opened, rows, form)
