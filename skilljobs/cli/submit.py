"""`skilljobs submit`."""

from typing import Any

import click

from skilljobs.cli.job_list import asked_jobs, say_plans, submit_jobs
from skilljobs.cli.option_params import SubmitCommand, given_options
from skilljobs.cli.saying import say
from skilljobs.cli.shared_options import cluster_option, replicas_option, shard_timeout_option
from skilljobs.errors import InputError


@click.command(cls=SubmitCommand)
@click.option("--config", metavar="FILE", help="Take options from this TOML file; the command line counts more.")
@click.option("--out", default="runs", show_default=True, metavar="URI", help="Folder that runs are kept in.")
@click.option("--run-id", metavar="NAME", help="Name of the run.  [default: task, model and a hash of the options]")
@replicas_option
@click.option(
    "--gpus-per-replica",
    type=click.IntRange(min=0),
    metavar="N",
    help="GPUs of a scorer.  [default: 1 if there are GPUs]",
)
@shard_timeout_option
@cluster_option
@click.option("--no-wait", is_flag=True, help="With --address: return once the job is accepted.")
@click.option("--report/--no-report", default=True, help="Draw the figures and write report.html.  [default: report]")
@click.option("--verify", is_flag=True, help="Read all files of a run that was begun before, to find damage.")
@click.option("--dry-run", is_flag=True, help="Check everything, say what would be done, and do nothing.")
@click.option(
    "--track",
    type=click.Choice(["trackio", "wandb", "mlflow"]),
    help="Follow the job in this experiment tracker, through its own library.  [default: none]",
)
@click.option("--debug", is_flag=True, help="Show tracebacks and the workers' logs.")
@click.pass_context
def submit(
    ctx: click.Context,
    /,
    config: str | None,
    out: str,
    run_id: str | None,
    replicas: int | None,
    gpus_per_replica: int | None,
    shard_timeout: float | None,
    address: str | None,
    no_wait: bool,
    report: bool,
    verify: bool,
    dry_run: bool,
    track: str | None,
    debug: bool,
    **options: Any,
) -> None:
    """Run a job here or on a cluster, or resume it: tune a soft prompt, collect sums, correlate.

    The same command again resumes where it stopped. The last line of output is the run's directory. With --task given
    several times, or a --config with several tables [[jobs]], the jobs run one after another, with the model loaded
    once, and the last lines are the directories of their runs.

    \b
    skilljobs submit --task arithmetic
    skilljobs submit --task arithmetic --model ./gemma-3-270m --data arithmetic.jsonl.gz --limit 400
    skilljobs submit --data mine.jsonl --model ./gemma-3-270m --by topic
    skilljobs submit --config job.toml
    skilljobs submit --task arithmetic --task hans --model tiny --limit 400
    skilljobs submit --task arithmetic --address http://HEAD:8265 --out /shared/runs
    """
    given = given_options(options, ctx)
    jobs = asked_jobs(ctx, given)
    if jobs is not None and track is not None:
        raise InputError(f"--track {track} follows one job, and these are several: submit each by itself to track it")
    if jobs is not None or dry_run:
        given |= {} if run_id is None else {"run_id": run_id}
        where = {"replicas": replicas, "gpus_per_replica": gpus_per_replica, "shard_timeout": shard_timeout}
        if dry_run:
            say_plans([given] if jobs is None else jobs, {} if jobs is None else given, out, where)
        else:
            if no_wait:
                raise InputError("--no-wait is for one job on a cluster, and this process drives several jobs itself")
            settings = {**where, "address": address, "report": report, "verify": verify, "debug": debug}
            submit_jobs(jobs or [], given, out, settings)
        return
    from skilljobs.api import submit as submit_job
    from skilljobs.cli.bars import reporter
    from skilljobs.cluster.authentication import cluster_address

    with reporter() as shown:
        run = submit_job(
            out=out,
            run_id=run_id,
            replicas=replicas,
            gpus_per_replica=gpus_per_replica,
            shard_timeout=shard_timeout,
            address=address,
            no_wait=no_wait,
            report=report,
            verify=verify,
            track=track,
            reporter=shown,
            debug=debug,
            **given,
        )
    from skilljobs.cli.printed_summary import print_summary
    from skilljobs.cluster.dashboard_jobs import is_dashboard

    if not is_dashboard(cluster_address(address)):  # otherwise the job printed it, and this machine may not see the run
        print_summary(run)
    say(run.uri)
