"""`skilljobs sweep`."""

from typing import Any

import click

from skilljobs.cli.job_file import JOBS
from skilljobs.cli.option_params import SubmitCommand, given_options
from skilljobs.cli.saying import say
from skilljobs.cli.shared_options import cluster_option, replicas_option, shard_timeout_option
from skilljobs.errors import InputError, SomeJobsFailed


class SweepCommand(SubmitCommand):
    """A command that takes the options of a job, with several models."""

    several = ("model",)


@click.command(cls=SweepCommand)
@click.argument("more_models", nargs=-1, metavar="[MODEL]...")
@click.option("--revisions", metavar="A,B,...", help="Branches, tags or commits of the one --model, in order.")
@click.option("--name", metavar="NAME", help="Name of the series.  [default: task, models and a hash of the options]")
@click.option("--config", metavar="FILE", help="Take options from this TOML file; the command line counts more.")
@click.option("--out", default="runs", show_default=True, metavar="URI", help="Folder of the runs and the series.")
@replicas_option
@click.option("--gpus-per-replica", type=click.IntRange(min=0), metavar="N", help="GPUs of a scorer.")
@shard_timeout_option
@cluster_option
@click.option("--report/--no-report", default=True, help="Write each run's report, and the series' figure.")
@click.option("--verify", is_flag=True, help="Read all files of runs that were begun before, to find damage.")
@click.option("--debug", is_flag=True, help="Show tracebacks and the workers' logs.")
@click.pass_context
def sweep(
    ctx: click.Context,
    /,
    more_models: tuple[str, ...],
    revisions: str | None,
    name: str | None,
    config: str | None,
    out: str,
    replicas: int | None,
    gpus_per_replica: int | None,
    shard_timeout: float | None,
    address: str | None,
    report: bool,
    verify: bool,
    debug: bool,
    **options: Any,
) -> None:
    """Run the same job on several models, such as training checkpoints, and say when neurons appear.

    Each model has a run of its own, and a soft prompt that is tuned on it unless --soft-prompt gives one. The same
    command again resumes what is not finished, and takes in checkpoints that have come since. The last lines of output
    are the directories of the runs and that of the series, which `compare` and `plot` take.

    \b
    skilljobs sweep --task arithmetic --model EleutherAI/pythia-70m --revisions step1000,step16000,step143000
    skilljobs sweep --task arithmetic --model 'training/step-*' --limit 400
    skilljobs sweep --data mine.jsonl --model ./base --model ./instruct
    """
    from skilljobs.cli.bars import reporter
    from skilljobs.cli.series_table import print_series, title_metric
    from skilljobs.plan.checkpoints_asked import in_order
    from skilljobs.series import open_series
    from skilljobs.series import sweep as sweep_models

    if ctx.meta.get(JOBS):
        raise InputError(f"--config: a sweep is one job on several models, and the file has several jobs, [[{JOBS}]]")
    given = given_options(options, ctx)
    models = _all(given.pop("model", None))
    if more_models:  # a shell made them of a pattern, whose first match is the one before
        models = (*models[:-1], *in_order([*models[-1:], *more_models]))
    if not models:
        raise InputError("say which models: --model again for each, a pattern of directories, or --revisions")
    failed: SomeJobsFailed | None = None
    try:
        with reporter() as shown:
            series = sweep_models(
                models,
                revisions=[] if revisions is None else [one.strip() for one in revisions.split(",") if one.strip()],
                name=name,
                out=out,
                replicas=replicas,
                gpus_per_replica=gpus_per_replica,
                shard_timeout=shard_timeout,
                address=address,
                report=report,
                verify=verify,
                reporter=shown,
                debug=debug,
                on_done=lambda run: say(f"{run.record.run_id} is done", err=True),
                **given,
            )
    except SomeJobsFailed as error:
        failed, series = error, open_series(error.uris[-1])
    if failed is None or series.metrics:
        metric = title_metric(series)
        print_series(series, [metric])
        if report:
            series.draw([metric])
    for run in series.runs:
        say(run.uri)
    say(series.uri)
    if failed is not None:
        raise failed


def _all(model: Any) -> tuple[str, ...]:
    return () if model is None else model if isinstance(model, tuple) else (model,)
