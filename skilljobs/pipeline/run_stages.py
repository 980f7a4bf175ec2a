"""Running what is left of a job's stages, and making damaged files again."""

from collections.abc import Sequence
from contextlib import suppress
from fnmatch import fnmatchcase
from threading import Thread

from skilljobs.errors import InputError, JobFailed
from skilljobs.pipeline.job import Job
from skilljobs.pipeline.stage import Stage
from skilljobs.pipeline.workplace import finish
from skilljobs.progress.reporter import timed
from skilljobs.store.integrity import damaged_names, digests_of, matching_names


def run_stages(job: Job, stages: Sequence[Stage], thorough: bool = False, before: Stage | None = None) -> None:
    """Run those of `stages` that are not done, or whose files are damaged, in order.

    Ray is ended as soon as no later stage needs it.

    Args:
        thorough: whether the files of all finished stages are read to find damage; otherwise their sizes are compared,
            and what a stage reads is checked before it runs.
        before: the stage at which to stop, once what it reads has been checked; None runs all.

    Raises:
        InputError: the cluster, the model or the stored run does not fit the job.
        JobFailed: a stage could not be finished; what was committed is kept.
    """
    try:
        for stage in stages:
            _repair(job, stage, ("*",), thorough)
        for place, stage in enumerate(stages):
            if stage.is_done(job):
                continue
            for earlier in stages[:place]:
                _repair(job, earlier, stage.reads, thorough=True)
            if stage is before:
                return
            if all(later.needs is None for later in stages[place:]):
                job.workplace.close()
            _run_stage(job, stage, stages[place + 1 :])
    except JobFailed as error:
        raise error.keeping(job.what_is_kept) from error


def _repair(job: Job, stage: Stage, patterns: Sequence[str], thorough: bool) -> None:
    """Run a finished stage again if those of its files that match `patterns` are damaged.

    Raises:
        InputError: its files cannot be made again.
    """
    done = job.run.record.stages.get(stage.name)
    if done is None:
        return
    checked = {n: d for n, d in done.files.items() if any(fnmatchcase(n, pattern) for pattern in patterns)}
    damaged = damaged_names(job.run.folder, checked, thorough)
    if not damaged:
        return
    more = f" and {len(damaged) - 1} more" if len(damaged) > 1 else ""
    if not stage.can_repeat(job):
        raise InputError(
            f"{job.run.uri}: {damaged[0]}{more} is damaged or missing, and what was read with it cannot be read"
            " again: restore it, or begin a new run (--run-id)"
        )
    job.reporter.note(f"{damaged[0]}{more} is damaged or missing: the stage {stage.name} runs again")
    _run_stage(job, stage)
    different = damaged_names(job.run.folder, checked, thorough=True)
    if different:
        raise InputError(
            f"{job.run.uri}: {different[0]} was made again and is not what it was: begin a new run (--run-id)"
        )


def _prepare(stages: Sequence[Stage]) -> None:
    """Prepare later stages in a thread. What goes wrong there goes wrong again when the stage runs, and is said
    then."""

    def prepare() -> None:
        for stage in stages:
            with suppress(Exception):
                stage.prepare()

    Thread(target=prepare, name="prepare").start()


def _run_stage(job: Job, stage: Stage, later: Sequence[Stage] = ()) -> None:
    if stage.needs == "scorers":
        _prepare(later)  # while Ray starts, a processor is idle
        job.workplace.start_scorers(job.run, job.plan)
    elif stage.needs == "cluster":
        job.workplace.fix_numerics(job.run, job.plan)
    try:
        with timed(job.reporter, stage.name, stage.steps(job)) as timing:
            timing.summary = stage.run(job)
    except Exception as error:
        if stage.is_required:
            raise
        job.reporter.note(f"the stage {stage.name} failed ({type(error).__name__}: {error}); the job itself is done")
        return
    finish_stage(job, stage, timing.seconds)


def finish_stage(job: Job, stage: Stage, seconds: float) -> None:
    """Record a stage as done, with the files that it left."""
    names = matching_names(job.run.folder, stage.writes) if stage.records_digests else []
    finish(job.run, stage.name, seconds, digests_of(job.run.folder, names))
