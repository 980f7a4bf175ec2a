"""The stage that takes the correlations of several soft prompts' runs together."""

from functools import partial

from pyarrow import parquet as pq

from skilljobs.cluster.reduce_tasks import reduce_all, reduce_steps, reducers
from skilljobs.pipeline.job import Job
from skilljobs.pipeline.reduce_stage import Reduce, reduce_job
from skilljobs.pipeline.stage import Stage
from skilljobs.reduce.prompt_mean import reduce_layer_over_prompts
from skilljobs.store.references import METRICS_NAME
from skilljobs.store.schema import METRICS, write_parquet


class PromptMean(Stage):
    """The mean of the correlations over the prompts, in place of the reduction of one run's shards."""

    name = Reduce.name
    needs = "cluster"
    writes = (*Reduce.writes, METRICS_NAME)

    def steps(self, job: Job) -> int | None:
        return reduce_steps(len(job.run.prompt_runs[0].record.neurons), job.plan.layout)

    def run(self, job: Job) -> str:
        prompts = job.run.prompt_runs
        job.run.record_prompts([prompt.record for prompt in prompts])
        with prompts[0].folder.open(METRICS_NAME) as file:
            write_parquet(job.run.folder, METRICS_NAME, [pq.read_table(file)], METRICS)
        reduction = reduce_job(job)
        reduce_one = partial(reduce_layer_over_prompts, reduction, [prompt.uri for prompt in prompts])
        size = job.plan.sums_size * len(prompts)
        reduce_all(reduction, reduce_one, reducers(size, job.reporter))
        return f"{reduction.layers} layers over {len(prompts)} prompts"
