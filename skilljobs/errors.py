"""The ways in which a command ends early. Any other exception that escapes is a bug in skilljobs."""

from collections.abc import Sequence


class InputError(Exception):
    """Bad usage or input, found before anything was started: exit code 2.

    The message is one sentence that names the offending thing.
    """


class JobFailed(Exception):  # noqa: N818  the name says what happened
    """The job started and could not finish: exit code 1.

    The message names the reason, says what was kept and how to resume. `way_on` is what helps: where the same command
    would fail again, it says what to change.
    """

    def __init__(self, message: str, way_on: str = "the same command resumes") -> None:
        super().__init__(message)
        self.way_on = way_on
        self._says_what_is_kept = False

    def keeping(self, kept: str) -> "JobFailed":
        """The same failure, whose message says once what is kept, and what helps if anything is known to."""
        if self._says_what_is_kept:
            return self
        said = JobFailed(f"{self}; {kept}" + (f": {self.way_on}" if self.way_on else ""), self.way_on)
        said._says_what_is_kept = True
        return said


class SomeJobsFailed(JobFailed):
    """Some of several jobs could not be finished. The message has a line for each job.

    `uris` are the directories of all their runs, in the order of the jobs.
    """

    def __init__(self, message: str, uris: Sequence[str]) -> None:
        super().__init__(message)
        self.uris = tuple(uris)


class Terminated(KeyboardInterrupt):
    """The process received SIGTERM, or the job's run was asked to stop: exit code 143."""


class Detached(KeyboardInterrupt):
    """The user stopped waiting for a job that continues on a cluster. The message says how to follow and to stop it."""
