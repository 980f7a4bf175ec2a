"""A stage of a job: what it needs, what it writes, and how it runs."""

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

from skilljobs.pipeline.job import Job

Need = Literal["cluster", "scorers"]
"""What is started before a stage runs: Ray, or Ray with scorers that have loaded the model."""


class Stage(ABC):
    """One step of a job, in a fixed order with the others. A stage that is done is skipped when the job is resumed."""

    name: ClassVar[str]
    """The stage's name in the record, in progress and in `status`."""
    needs: ClassVar[Need | None] = None
    reads: ClassVar[tuple[str, ...]] = ()
    """The files of earlier stages that it reads, as patterns."""
    writes: ClassVar[tuple[str, ...]] = ()
    """The files of the run that it writes, as patterns."""
    records_digests: ClassVar[bool] = True
    """Whether the record keeps what identifies its files; if not, they cover themselves or are no results."""
    is_required: ClassVar[bool] = True
    """Whether the run is incomplete without it; if not, its failure is only noted."""

    def steps(self, job: Job) -> int | None:
        """How many steps the progress counts, if that is known."""
        return None

    def is_done(self, job: Job) -> bool:
        """Whether nothing is left to do."""
        return job.run.record.is_done(self.name)

    def can_repeat(self, job: Job) -> bool:
        """Whether it can make its files again, the same to the last bit."""
        return True

    def prepare(self) -> None:
        """Do what needs nothing of the job, such as imports; it runs beside earlier stages, while scorers work."""
        return

    @abstractmethod
    def run(self, job: Job) -> str:
        """Do it. Returns a summary of one line.

        Raises:
            JobFailed: it could not be finished; what was committed is kept.
            InputError: the model, the cluster or the stored run does not fit the job.
        """
