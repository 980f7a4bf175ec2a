"""`skilljobs submit`."""

from typing import Any

import click

from skilljobs.spec import JobSpec


@click.command()
@click.option("--task", metavar="NAME", help="Built-in or installed task (see `skilljobs tasks`).")
@click.option("--data", metavar="FILE", help="Where the task reads its examples; alone: a table of your own.")
@click.option("--train-data", metavar="FILE", help="Tune on these rows; all of the task's own are then tested.")
@click.option("--model", metavar="ID-or-DIR", help="Hugging Face id, local directory, or tiny (bundled).")
@click.option("--metric", multiple=True, metavar="NAME", help="What to correlate; repeat for more.  [default: all]")
@click.option("--by", multiple=True, metavar="COLUMN", help="Adds the populations COLUMN=value and within:COLUMN.")
@click.option("--out", default="runs", show_default=True, metavar="URI", help="Folder that runs are kept in.")
@click.option("--run-id", metavar="NAME", help="Name of the run.  [default: task, model and hash of the spec]")
@click.option("--limit", type=int, metavar="N", help="Test examples at most, sampled by seed.")
@click.option("--prompt-length", type=int, default=JobSpec.prompt_length, show_default=True, metavar="P")
@click.option("--tune-steps", type=int, default=JobSpec.tune_steps, show_default=True, metavar="N")
@click.option("--learning-rate", type=float, metavar="RATE", help="Of tuning.  [default: by the model's embeddings]")
@click.option("--tune-loss", type=click.Choice(["target", "choices"]), default=JobSpec.tune_loss, show_default=True)
@click.option("--soft-prompt", metavar="RUN-or-FILE|random|none", help="Reuse one, or a baseline.  [default: tuned]")
@click.option("--prompts", type=int, default=JobSpec.prompts, show_default=True, metavar="N", help="From N seeds.")
@click.option("--prompt-seed", type=int, metavar="N", help="Of the first soft prompt.  [default: --seed]")
@click.option(
    "--tokens",
    type=click.Choice(["mean", "each", "last"]),
    default=JobSpec.tokens,
    show_default=True,
    help="Prompt positions: averaged, kept, or the last one.",
)
@click.option("--null", type=int, default=JobSpec.null, show_default=True, metavar="K", help="Null metrics.")
@click.option("--dtype", type=click.Choice(["float32", "bfloat16", "float16"]), help="[default: float32 on CPUs]")
@click.option("--batch-tokens", type=int, metavar="N", help="Tokens a batch, with padding.  [default: by memory]")
@click.option("--shard-size", type=int, metavar="N", help="Examples a shard.")
@click.option("--replicas", type=click.IntRange(min=1), metavar="N", help="Scorers.  [default: as many as fit]")
@click.option("--gpus-per-replica", type=click.IntRange(min=0), metavar="N", help="[default: 1 where there are GPUs]")
@click.option(
    "--until-ci",
    type=float,
    metavar="W",
    help="Collect no more once the 95% interval of the tenth neuron of every metric is narrower than W.",
)
@click.option(
    "--max-sums-gb",
    type=float,
    default=JobSpec.max_sums_gb,
    show_default=True,
    metavar="GB",
    help="Refuse larger sums a shard.",
)
@click.option(
    "--max-bad-rows",
    type=float,
    default=JobSpec.max_bad_rows,
    show_default=True,
    metavar="FRACTION",
    help="Refuse more bad rows; fewer are left out and listed.",
)
@click.option("--seed", type=int, default=JobSpec.seed, show_default=True)
@click.option("--hide-choices", is_flag=True, help="Leave the choices out of the text.")
@click.option("--unit", metavar="COLUMN", help="Examples of equal value are not independent of each other.")
@click.option("--template", metavar="TEXT", help="The text, with {columns} to fill in; the prompt stands behind it.")
@click.option("--label-words", nargs=2, metavar="ENTAILMENT NON-ENTAILMENT", help="Answers of `hans`.")
@click.option("--view", type=click.Choice(["asked", "shown"]), help="Of `skillmix`.  [default: asked]")
@click.option("--generate", is_flag=True, help="The model itself writes the texts of `skillmix`.")
@click.option("--grader", metavar="MODEL-or-MODULE:FUNCTION", help="Grades texts that have no grades.")
@click.option("--text-column", metavar="COLUMN", help="Of a table of your own; likewise the others.  [default: text]")
@click.option("--choices-column", metavar="COLUMN")
@click.option("--answer-column", metavar="COLUMN")
@click.option("--target-column", metavar="COLUMN")
@click.option("--id-column", metavar="COLUMN", help="[default: example_id]")
@click.option("--split-column", metavar="COLUMN")
@click.option(
    "--address", metavar="URL", help="Of a cluster's dashboard, http://HEAD:8265.  [default: RAY_ADDRESS, or here]"
)
@click.option("--no-wait", is_flag=True, help="With --address: return once the job is accepted.")
@click.option("--report/--no-report", default=True, help="Draw the figures and write report.html.  [default: report]")
@click.option("--debug", is_flag=True, help="Show tracebacks and the workers' logs.")
def submit(
    out: str,
    run_id: str | None,
    replicas: int | None,
    gpus_per_replica: int | None,
    address: str | None,
    no_wait: bool,
    report: bool,
    debug: bool,
    **spec: Any,
) -> None:
    """Run a job here or on a cluster, or go on with it: tune a soft prompt, collect sums, correlate.

    The same command again resumes where it stopped. The last line of output is the run's directory.

    \b
    skilljobs submit --task arithmetic
    skilljobs submit --task arithmetic --model ./gemma-3-270m --data arithmetic.jsonl.gz --limit 400
    skilljobs submit --data mine.jsonl --model ./gemma-3-270m --by topic
    skilljobs submit --task arithmetic --address http://HEAD:8265 --out /shared/runs
    """
    from skilljobs.api import cluster_address
    from skilljobs.api import submit as submit_job
    from skilljobs.cli.progress import reporter

    with reporter() as shown:
        run = submit_job(
            out=out,
            run_id=run_id,
            replicas=replicas,
            gpus_per_replica=gpus_per_replica,
            address=address,
            no_wait=no_wait,
            report=report,
            reporter=shown,
            debug=debug,
            **spec,
        )
    from skilljobs.cli.summary import print_summary
    from skilljobs.engine.cluster.jobs import is_dashboard

    if not is_dashboard(cluster_address(address)):  # else the job printed it, and this machine need not see the run
        print_summary(run)
    click.echo(run.uri)
