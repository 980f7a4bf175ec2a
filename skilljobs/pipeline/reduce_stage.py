"""The stage that turns the sums of all shards into correlations, one layer at a time."""

from functools import partial

from skilljobs.cluster.reduce_tasks import reduce_all, reduce_steps, reducers
from skilljobs.pipeline.job import Job
from skilljobs.pipeline.stage import Stage
from skilljobs.printable import counted
from skilljobs.reduce.layers import ReduceJob, reduce_layer
from skilljobs.store.references import METRICS_NAME, REFERENCE_NAME
from skilljobs.store.run import BEST_NAME, NULL_MAXIMA_NAME, TOP_NAME


def reduce_job(job: Job) -> ReduceJob:
    """What a reducer must know about a job."""
    neurons = job.run.record.neurons
    return ReduceJob(
        uri=job.run.uri,
        layout=job.plan.layout,
        halves=job.plan.halves,
        tokens=job.plan.kept_tokens,
        neurons=neurons,
        yes_no=job.plan.yes_no,
        counted_tokens=max(1, job.plan.prompt_length),
        keep_null=job.plan.spec.keep_null,
    )


class Reduce(Stage):
    """Correlate every neuron with every metric, in every population."""

    name = "reduce"
    needs = "cluster"
    reads = (REFERENCE_NAME, METRICS_NAME)
    writes = ("correlations/layer-*.parquet", TOP_NAME, BEST_NAME, NULL_MAXIMA_NAME)

    def prepare(self) -> None:
        """Import what computes p and q."""
        import scipy.special
        import scipy.stats  # noqa: F401

    def steps(self, job: Job) -> int | None:
        return reduce_steps(len(job.run.record.neurons), job.plan.layout)

    def can_repeat(self, job: Job) -> bool:
        return not job.run.record.sums_dropped

    def run(self, job: Job) -> str:
        reduction = reduce_job(job)
        size = job.plan.sums_size * len(job.plan.shards)
        tasks = reducers(size, job.reporter, job.workplace.scorer_nodes)
        reduce_all(reduction, partial(reduce_layer, reduction), tasks)
        return counted(reduction.layers, "layer")
