"""The stage that makes the soft prompt, on one scorer."""

from collections.abc import Sequence

from skilljobs.lm.results import TuningPoint
from skilljobs.pipeline.job import Job
from skilljobs.pipeline.stage import Stage
from skilljobs.plan.like_run import LikeRun
from skilljobs.plan.reused_prompt import differences, reused_prompt_bytes
from skilljobs.plan.work import LeftOut, PromptAccuracy, most_tuning_steps
from skilljobs.progress.reporter import measured
from skilljobs.store.record import Accuracy
from skilljobs.store.run import PROMPT_NAME, TUNING_EXAMPLES_NAME, TUNING_NAME, TUNING_STATE_NAME

IDS_SHOWN = 3


class Tune(Stage):
    """Tune the soft prompt, or take the one to reuse or a baseline."""

    name = "tune"
    needs = "scorers"
    reads = (TUNING_EXAMPLES_NAME,)
    writes = (PROMPT_NAME, TUNING_NAME)

    def steps(self, job: Job) -> int | None:
        if job.plan.spec.soft_prompt is not None or job.plan.like is not None:
            return None
        return most_tuning_steps(job.plan.spec, len(job.plan.train))

    def can_repeat(self, job: Job) -> bool:
        """A tuned prompt can only be made again as long as nothing has been read with it; one of a run is copied."""
        if job.plan.like is not None:
            return True
        return job.plan.spec.soft_prompt is not None or "prompt_digest" not in job.run.record.fingerprint.fields

    def run(self, job: Job) -> str:
        if job.plan.like is not None:
            return _take_over(job, job.plan.like)
        spec = job.plan.spec
        reused = reused_prompt_bytes(spec)
        changed = differences(spec, job.run.record.fingerprint.fields)
        if changed:
            settings = "; ".join(changed)
            job.reporter.note(f"--soft-prompt {spec.soft_prompt} comes from a run with other settings: {settings}")
        accuracy = PromptAccuracy(None, None)
        left_out: dict[str, None] = {}
        number = job.run.record.run_id.partition("/")[2]
        group = f"prompt-{number}/tune" if number else "tune"

        def take(item: TuningPoint | LeftOut | PromptAccuracy) -> None:
            nonlocal accuracy
            if isinstance(item, PromptAccuracy):
                accuracy = item
            elif isinstance(item, LeftOut):
                left_out.update(dict.fromkeys(item.example_ids))
                job.reporter.note(f"tune: {_listed(item.example_ids)} left out, the loss is not finite")
            else:
                values = {f"{group}/{item.split}_loss": item.loss, f"{group}/{item.split}_accuracy": item.accuracy}
                measured(job.reporter, values, item.step)
                if item.split == "validation":
                    job.reporter.advance(item.step, f"validation loss {item.loss:.4f}")

        job.workplace.pool.run_on_one(lambda actor: actor.make_prompt.remote(job.work, reused), take)
        job.run.record_accuracy(Accuracy(before=accuracy.before, after=accuracy.after))
        job.run.folder.delete(TUNING_STATE_NAME)
        summary = f"validation accuracy {_shown(accuracy.before)} before, {_shown(accuracy.after)} after"
        return f"{summary}; left out as not finite: {_listed(list(left_out))}" if left_out else summary


def _take_over(job: Job, like: LikeRun) -> str:
    """Copy the soft prompt of the run that metrics are added to, with its tuning curve and accuracy."""
    folder = like.files.folder
    for name in (PROMPT_NAME, TUNING_NAME):
        if folder.exists(name):
            job.run.folder.write(name, folder.read(name))
    accuracy = like.record.accuracy
    job.run.record_accuracy(Accuracy(before=accuracy.before, after=accuracy.after))
    return f"the soft prompt of {like.files.uri}"


def _listed(example_ids: Sequence[str]) -> str:
    more = f" and {len(example_ids) - IDS_SHOWN} more" if len(example_ids) > IDS_SHOWN else ""
    return f"{', '.join(example_ids[:IDS_SHOWN])}{more}"


def _shown(accuracy: float | None) -> str:
    return "-" if accuracy is None else f"{accuracy:.3f}"
