"""The stage that fixes what all sums are taken about."""

from pyarrow import parquet as pq

from skilljobs.errors import JobFailed
from skilljobs.pipeline.job import Job
from skilljobs.pipeline.stage import Stage
from skilljobs.store.files import Folder
from skilljobs.store.references import METRICS_NAME, REFERENCE_NAME, metric_references
from skilljobs.store.run import PROMPT_NAME, TUNING_EXAMPLES_NAME
from skilljobs.store.shards import examples_name
from skilljobs.store.thresholds import THRESHOLDS_NAME


def _same_neurons(before: Folder, now: Folder) -> bool:
    """Whether the references of neurons are the same, bit for bit, whatever else the files say."""
    tables = []
    for folder in (before, now):
        with folder.open(REFERENCE_NAME) as file:
            tables.append(pq.read_table(file).replace_schema_metadata())
    return bool(tables[0].equals(tables[1]))


def check_same_references(before: Folder, now: Folder) -> None:
    """Check that the references are those of the run that metrics are added to.

    Raises:
        JobFailed: the model does something else with the first batch.
    """
    known, new = (metric_references(folder) for folder in (before, now))
    different = [name for name, reference in known.items() if new[name] != reference]
    if different or not _same_neurons(before, now):
        what = f"the metric {different[0]}" if different else "neurons"
        raise JobFailed(
            f"{what} had other values in the first batch of {before.uri}: new sums would not be of the same"
            " activations",
            "make a new run with all metrics",
        )


class Reference(Stage):
    """Read the first batch of shard 0, and store the reference of every neuron and metric."""

    name = "reference"
    needs = "scorers"
    reads = (PROMPT_NAME, examples_name(0), TUNING_EXAMPLES_NAME)
    writes = (REFERENCE_NAME, METRICS_NAME, THRESHOLDS_NAME)

    def run(self, job: Job) -> str:
        pool = job.workplace.pool
        pool.run_on_one(lambda actor: [actor.make_references.remote(job.work)], lambda _: None)
        what = "of every neuron and metric, from the first batch"
        if job.plan.like is not None:
            check_same_references(job.plan.like.files.folder, job.run.folder)
        if not job.plan.yes_no:
            return what
        pool.run_on_one(lambda actor: [actor.make_thresholds.remote(job.work)], lambda _: None)
        return f"{what}; thresholds: means over {len(job.plan.train)} train examples"
