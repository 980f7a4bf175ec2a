"""The first stage: the examples, as they will be evaluated, are written to the run."""

from skilljobs.pipeline.job import Job
from skilljobs.pipeline.stage import Stage
from skilljobs.plan.example_views import Chain
from skilljobs.plan.job_plan import JobPlan
from skilljobs.plan.work import most_tuning_steps
from skilljobs.store.examples import example_schema, write_examples_file
from skilljobs.store.files import Folder
from skilljobs.store.provenance import provenance_of
from skilljobs.store.run import TUNING_EXAMPLES_NAME
from skilljobs.store.schema import sums_schema
from skilljobs.store.shards import examples_name

ROWS_SHOWN = 3
"""Bad rows that are shown with their reasons."""
TRAPS_SHOWN = 3
"""Metrics that may mislead, and pairs of them, of which each has a line."""


def write_examples(plan: JobPlan, folder: Folder) -> None:
    """Write the examples of every shard, and those to tune on."""
    tuning = Chain([plan.train, plan.validation])
    schema, about = example_schema(Chain([plan.test, tuning])), provenance_of(folder)
    for shard, examples in enumerate(plan.shards):
        write_examples_file(folder, examples_name(shard), examples, schema, about)
    write_examples_file(folder, TUNING_EXAMPLES_NAME, tuning, schema, about)


class Prepare(Stage):
    """Write the examples of every shard, and those to tune on."""

    name = "prepare"
    writes = ("examples/part-*.parquet", TUNING_EXAMPLES_NAME)

    def run(self, job: Job) -> str:
        plan = job.plan
        write_examples(plan, job.run.folder)
        if plan.like is None:
            job.reporter.note(f"columns: {plan.columns.line}")
        else:
            job.reporter.note(f"added to {plan.like.files.uri}: {plan.like.new_columns.line}")
            for note in plan.like.notes:
                job.reporter.note(f"note: {note}")
        for trap in plan.traps[:TRAPS_SHOWN]:
            job.reporter.note(f"note: {trap}")
        if len(plan.traps) > TRAPS_SHOWN:
            job.reporter.note(f"note: so it is with {len(plan.traps) - TRAPS_SHOWN} more metrics or pairs of metrics")
        shots = plan.prompt_format.shots
        if shots:
            job.reporter.note(f"few-shot: in front of every text stand the train examples {', '.join(shots)}")
        if plan.reading.has_exact:
            job.reporter.note("exact: every example is read a second time and answered, token by token")
        if plan.bad_rows:
            shown = "; ".join(f"row {row.number}: {row.reason}" for row in plan.bad_rows[:ROWS_SHOWN])
            more = f"; and {len(plan.bad_rows) - ROWS_SHOWN} more" if len(plan.bad_rows) > ROWS_SHOWN else ""
            job.reporter.note(f"left out: {len(plan.bad_rows)} bad rows ({shown}{more})")
        return plan_summary(plan)


def plan_summary(plan: JobPlan) -> str:
    """How much is read, tuned on and stored, in words."""
    size = ""  # known once the model is loaded
    if plan.sums_size:
        whole = plan.sums_size * len(plan.shards)
        size = f", {plan.sums_size / 1e6:.1f} MB a shard, {whole / 1e6:.0f} MB in all before compression"
    return (
        f"{len(plan.test)} test examples in {len(plan.shards)} shards, {_tuned_on(plan)};"
        f" sums of {len(sums_schema(plan.layout))} columns{size}"
    )


def _tuned_on(plan: JobPlan) -> str:
    """What is tuned on, and what of it a `--limit` leaves out."""
    train, validation = plan.tuned_on_of
    steps = most_tuning_steps(plan.spec, len(plan.train))
    if (train, validation) == (len(plan.train), len(plan.validation)):
        return f"{train} to tune on" + (f", in at most {steps} steps" if steps != plan.spec.tune_steps else "")
    return (
        f"because of --limit {len(plan.train)} of {train} to tune on and {len(plan.validation)} of {validation} to"
        f" validate on, in at most {steps} steps"
    )
