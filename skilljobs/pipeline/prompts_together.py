"""Tuning the soft prompts of a run side by side: scorers that one prompt leaves idle work at another."""

from collections.abc import Sequence

from skilljobs.errors import JobFailed
from skilljobs.pipeline.job import Job
from skilljobs.pipeline.run_stages import finish_stage, run_stages
from skilljobs.pipeline.stage import Stage
from skilljobs.pipeline.tune_stage import Tune
from skilljobs.progress.reporter import timed


def tune_together(jobs: Sequence[Job], stages: Sequence[Stage], thorough: bool) -> None:
    """Do the stages before tuning of each job, and tune all prompts that are left; `thorough` is as for `run_stages`.

    Nothing is done if fewer than two are left to tune: each is then tuned as its own job comes.

    Raises:
        InputError: the cluster, the model or a stored run does not fit the job.
        JobFailed: a prompt could not be tuned; what was stored is kept.
    """
    tune = next(stage for stage in stages if isinstance(stage, Tune))
    left = [job for job in jobs if job.plan.is_tuned and not tune.is_done(job)]
    if len(left) < 2:
        return
    for job in left:
        run_stages(job, stages, thorough, before=tune)
    first = jobs[0]
    first.workplace.start_scorers(first.run, first.plan)
    for job in left:
        if job is not first:
            job.workplace.share_numerics(first.run.record, job.run)
            job.workplace.start_scorers(job.run, job.plan)
    try:
        with timed(first.reporter, tune.name, sum(tune.steps(job) or 0 for job in left)) as timing:
            summaries = tune.run_together(left)
            timing.summary = f"{len(left)} prompts side by side: {'; '.join(summaries)}"
    except JobFailed as error:
        raise error.keeping(first.what_is_kept) from error
    for job in left:
        finish_stage(job, tune, timing.seconds / len(left))
