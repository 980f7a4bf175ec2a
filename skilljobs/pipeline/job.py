"""A job on its way through its stages."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from skilljobs.errors import JobFailed
from skilljobs.pipeline.stage import Stage, timed
from skilljobs.pipeline.workplace import Workplace, finish
from skilljobs.plan.job_plan import JobPlan
from skilljobs.plan.work import RunWork
from skilljobs.progress.reporter import Reporter
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

    def run_stages(self, stages: Sequence[Stage]) -> None:
        """Run those of `stages` that are not done, in order. Ray is ended as soon as no later stage needs it.

        Raises:
            InputError: the cluster, the model or the stored run does not fit the job.
            JobFailed: a stage could not be finished; what was committed is kept.
        """
        for place, stage in enumerate(stages):
            if not stage.is_done(self):
                if all(later.needs is None for later in stages[place:]):
                    self.workplace.close()
                try:
                    self._run_stage(stage)
                except JobFailed as error:
                    raise JobFailed(f"{error}; {self._what_is_kept}: the same command resumes") from error

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
        else:
            finish(self.run, stage.name, timing.seconds)

    @property
    def _what_is_kept(self) -> str:
        if self.plan.spec.prompts > 1:
            return f"the runs of its prompts are kept in {self.run.uri}"
        return f"{self.run.committed_count()} of {len(self.plan.shards)} shards are committed in {self.run.uri}"
