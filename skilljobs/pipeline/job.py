"""A job on its way through its stages."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property

from skilljobs.errors import InputError, JobFailed
from skilljobs.pipeline.stage import Stage, timed
from skilljobs.pipeline.workplace import Workplace, finish
from skilljobs.plan.job_plan import JobPlan
from skilljobs.plan.work import RunWork
from skilljobs.progress.reporter import Reporter
from skilljobs.store.integrity import damaged_names, digests_of, matching_names
from skilljobs.store.run import RunFiles


@dataclass
class Job:
    """What its stages share. `plan` has only the shards that are needed: fewer once `--until-ci` has stopped."""

    plan: JobPlan
    run: RunFiles
    reporter: Reporter
    workplace: Workplace

    @cached_property
    def work(self) -> RunWork:
        """What a scorer must know about the run, once its numerics are fixed."""
        numerics = self.run.record.numerics
        assert numerics is not None
        return RunWork(
            job_id=uuid.uuid4().hex,
            uri=self.run.uri,
            run_id=self.run.record.run_id,
            spec=self.plan.spec,
            model_name=self.plan.source.name,
            reading=self.plan.reading,
            answer_end=self.plan.task.answer_end,
            batch_tokens=numerics.batch_tokens,
        )

    def run_stages(self, stages: Sequence[Stage], thorough: bool = False) -> None:
        """Run those of `stages` that are not done, or whose files are damaged, in order.

        Ray is ended as soon as no later stage needs it. `thorough`: whether the files of all finished stages are read
        to find damage; otherwise their sizes are compared, and what a stage reads is checked before it runs.

        Raises:
            InputError: the cluster, the model or the stored run does not fit the job.
            JobFailed: a stage could not be finished; what was committed is kept.
        """
        try:
            for stage in stages:
                self._repair(stage, ("*",), thorough)
            for place, stage in enumerate(stages):
                if stage.is_done(self):
                    continue
                for earlier in stages[:place]:
                    self._repair(earlier, stage.reads, thorough=True)
                if all(later.needs is None for later in stages[place:]):
                    self.workplace.close()
                self._run_stage(stage)
        except JobFailed as error:
            raise JobFailed(f"{error}; {self._what_is_kept}: the same command resumes") from error

    def _repair(self, stage: Stage, patterns: Sequence[str], thorough: bool) -> None:
        """Run a finished stage again if those of its files that match `patterns` are damaged.

        Raises:
            InputError: its files cannot be made again.
        """
        done = self.run.record.stages.get(stage.name)
        if done is None:
            return
        checked = {n: d for n, d in done.files.items() if any(fnmatchcase(n, pattern) for pattern in patterns)}
        damaged = damaged_names(self.run.folder, checked, thorough)
        if not damaged:
            return
        more = f" and {len(damaged) - 1} more" if len(damaged) > 1 else ""
        if not stage.can_repeat(self):
            raise InputError(
                f"{self.run.uri}: {damaged[0]}{more} is damaged or missing, and what was read with it cannot be read"
                " again: restore it, or begin a new run (--run-id)"
            )
        self.reporter.note(f"{damaged[0]}{more} is damaged or missing: the stage {stage.name} runs again")
        self._run_stage(stage)
        different = damaged_names(self.run.folder, checked, thorough=True)
        if different:
            raise InputError(
                f"{self.run.uri}: {different[0]} was made again and is not what it was: begin a new run (--run-id)"
            )

    def _run_stage(self, stage: Stage) -> None:
        if stage.needs == "scorers":
            self.workplace.start_scorers(self.run, self.plan)
        elif stage.needs == "cluster":
            self.workplace.fix_numerics(self.run, self.plan)
        try:
            with timed(self.reporter, stage.name, stage.steps(self)) as timing:
                timing.summary = stage.run(self)
        except Exception as error:
            if stage.is_required:
                raise
            self.reporter.note(
                f"the stage {stage.name} failed ({type(error).__name__}: {error}); the job itself is done"
            )
            return
        names = matching_names(self.run.folder, stage.writes) if stage.records_digests else []
        finish(self.run, stage.name, timing.seconds, digests_of(self.run.folder, names))

    @property
    def _what_is_kept(self) -> str:
        if self.plan.spec.prompts > 1:
            return f"the runs of its prompts are kept in {self.run.uri}"
        return f"{self.run.committed_count()} of {len(self.plan.shards)} shards are committed in {self.run.uri}"
