"""The stage that takes the correlations of several soft prompts' runs together."""

from functools import partial

from skilljobs.cluster.reduce_tasks import reduce_all
from skilljobs.pipeline.job import Job
from skilljobs.pipeline.reduce_stage import Reduce, reduce_job
from skilljobs.pipeline.stage import Stage
from skilljobs.reduce.prompt_mean import reduce_layer_over_prompts
from skilljobs.store.references import METRICS_NAME
from skilljobs.store.run import RunFiles, prompt_uri


class PromptMean(Stage):
    """The mean of the correlations over the prompts, in place of the reduction of one run's shards."""

    name = Reduce.name
    needs = "cluster"
    writes = (*Reduce.writes, METRICS_NAME)

    def steps(self, job: Job) -> int | None:
        return len(_prompt_runs(job)[0].record.neurons_per_layer)

    def run(self, job: Job) -> str:
        prompts = _prompt_runs(job)
        job.run.record_prompts([prompt.record for prompt in prompts])
        job.run.folder.write(METRICS_NAME, prompts[0].folder.read(METRICS_NAME))
        reduction = reduce_job(job)
        reduce_one = partial(reduce_layer_over_prompts, reduction, [prompt.uri for prompt in prompts])
        reduce_all(reduction, reduce_one, job.reporter)
        return f"{reduction.layers} layers over {len(prompts)} prompts"


def _prompt_runs(job: Job) -> list[RunFiles]:
    return [RunFiles(prompt_uri(job.run.uri, number)) for number in range(job.plan.spec.prompts)]
