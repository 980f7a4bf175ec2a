"""The stage that makes the soft prompt: tuned by all scorers, or reused, or a baseline."""

from collections.abc import Sequence

from skilljobs.lm.prompt_file import prompt_vectors
from skilljobs.lm.tuning_rounds import TuningRound
from skilljobs.pipeline.job import Job
from skilljobs.pipeline.prompt_tuning import Asking, accuracy_of
from skilljobs.pipeline.run_tuning import record_accuracy, start_prompt, tune_prompts
from skilljobs.pipeline.stage import Stage
from skilljobs.pipeline.tuning_pool import PooledTuning, answer_rounds
from skilljobs.plan.like_run import LikeRun
from skilljobs.plan.reused_prompt import differences, reused_prompt_bytes
from skilljobs.plan.work import most_tuning_steps
from skilljobs.store.run import PROMPT_NAME, TUNING_EXAMPLES_NAME, TUNING_NAME


class Tune(Stage):
    """Tune the soft prompt, or take the one to reuse or a baseline."""

    name = "tune"
    needs = "scorers"
    reads = (TUNING_EXAMPLES_NAME,)
    writes = (PROMPT_NAME, TUNING_NAME)

    def steps(self, job: Job) -> int | None:
        return most_tuning_steps(job.plan.spec, len(job.plan.train)) if job.plan.is_tuned else None

    def can_repeat(self, job: Job) -> bool:
        """A tuned prompt can only be made again as long as nothing has been read with it; one of a run is copied."""
        return not job.plan.is_tuned or "prompt_digest" not in job.run.record.fingerprint.fields

    def run(self, job: Job) -> str:
        return self.run_together([job])[0]

    def run_together(self, jobs: Sequence[Job]) -> list[str]:
        """Make the prompts of several jobs, tuned side by side. Returns the summary of each; errors as `run`."""
        if all(job.plan.is_tuned for job in jobs):
            return tune_prompts(jobs)
        return [_take_over(job, job.plan.like) if job.plan.like else _take_untuned(job) for job in jobs]


def _take_untuned(job: Job) -> str:
    """Take the soft prompt that is reused, or a baseline, and look how accurate the model is with it."""
    spec = job.plan.spec
    changed = differences(spec, job.run.record.fingerprint.fields)
    if changed:
        settings = "; ".join(changed)
        job.reporter.note(f"--soft-prompt {spec.soft_prompt} comes from a run with other settings: {settings}")
    start = start_prompt(job, reused_prompt_bytes(spec))
    accuracy: list[float | None] = []

    def rounds() -> Asking[None]:
        accuracy.append(accuracy_of((yield TuningRound("answers", prompt_vectors(start.prompt)))))

    answer_rounds(job.workplace.pool, [PooledTuning(rounds(), job.work)])
    job.run.folder.write(PROMPT_NAME, start.prompt)
    return record_accuracy(job, accuracy[0], accuracy[0])


def _take_over(job: Job, like: LikeRun) -> str:
    """Copy the soft prompt of the run that metrics are added to, with its tuning curve and accuracy."""
    folder = like.files.folder
    for name in (PROMPT_NAME, TUNING_NAME):
        if folder.exists(name):
            job.run.folder.write(name, folder.read(name))
    record_accuracy(job, like.record.accuracy.before, like.record.accuracy.after)
    return f"the soft prompt of {like.files.uri}"
