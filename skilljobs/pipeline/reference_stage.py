"""The stage that fixes what all sums are taken about."""

from skilljobs.pipeline.job import Job
from skilljobs.pipeline.stage import Stage
from skilljobs.store.references import METRICS_NAME, REFERENCE_NAME
from skilljobs.store.run import PROMPT_NAME, TUNING_EXAMPLES_NAME
from skilljobs.store.shards import examples_name
from skilljobs.store.thresholds import THRESHOLDS_NAME


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
        if not job.plan.yes_no:
            return what
        pool.run_on_one(lambda actor: [actor.make_thresholds.remote(job.work)], lambda _: None)
        return f"{what}; thresholds: means over {len(job.plan.train)} train examples"
