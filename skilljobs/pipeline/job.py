"""A job: what its stages share."""

import uuid
from dataclasses import dataclass
from functools import cached_property

from skilljobs.pipeline.workplace import Workplace
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
            answer_end=self.plan.prompt_format.answer_end,
            batch_tokens=numerics.batch_tokens,
            batch_cost=numerics.batch_cost,
            tuning_parts=numerics.tuning_parts or 1,
            like=self.plan.like.work if self.plan.like else None,
        )

    @property
    def what_is_kept(self) -> str:
        """What a failure leaves, in words."""
        if self.plan.spec.prompts > 1:
            return f"the runs of its prompts are kept in {self.run.uri}"
        try:
            count = self.run.committed_count()
        except OSError:
            return f"the storage of {self.run.uri} does not answer, and keeps the shards that are committed"
        return f"{count} of {len(self.plan.shards)} shards are committed in {self.run.uri}"
