"""Jobs on a cluster, through the HTTP address of its dashboard (Ray's Jobs API). Only the command is uploaded."""

import re
import shlex
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from skilljobs.cluster.authentication import TOKEN_ADVICE, use_token_at_hand, without_ray_address
from skilljobs.errors import InputError, JobFailed

if TYPE_CHECKING:
    from ray.job_submission import JobDetails

RUN_ID, URI = "skilljobs.run_id", "skilljobs.uri"
"""Keys of the job's metadata, which names the run."""
NAME = "job_name"
"""Ray's own key for the name of a job."""
EVERY_SECONDS = 1.0
RETRY_SECONDS = 60.0
"""How long a dashboard may be unreachable while a job is followed."""
STOP_SECONDS = 60.0
START_SECONDS = 60.0
"""How long a cluster that was just started may take to accept jobs."""
_NOT_YET = "No available agent"
_RUNTIME = {"env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(int(STOP_SECONDS / 2))}}
"""Ray would kill a job three seconds after it is asked to stop, which is too soon for it to record that in its run."""
ENDED = ("SUCCEEDED", "FAILED", "STOPPED")
EXIT_STOPPED = 143
_SAYS = "skilljobs: "
_RAY_SAYS = re.compile(r"^(Running entrypoint for job .*|[-\d]+ [:,\d]+\s.* job_manager\.py:.*)\n", re.MULTILINE)
"""Lines that Ray itself adds to a job's log."""


def is_dashboard(address: str | None) -> bool:
    """Whether an address is that of a dashboard, rather than of a cluster that this process drives itself."""
    return address is not None and address.startswith(("http://", "https://"))


@dataclass(frozen=True)
class ClusterJob:
    """A job that is working, or worked, on a run."""

    id: str
    run_id: str
    uri: str
    """The run's directory, as the cluster sees it."""
    status: str
    """PENDING, RUNNING, SUCCEEDED, FAILED or STOPPED."""
    begun: float
    """When it began, in seconds since 1970."""
    exit_code: int | None
    message: str
    command: str

    @property
    def ended(self) -> bool:
        return self.status in ENDED

    @property
    def outcome(self) -> int | None:
        """The exit code of the command that it ran; None before it ends, or if the code is not known."""
        if self.status in ("SUCCEEDED", "STOPPED"):
            return 0 if self.status == "SUCCEEDED" else EXIT_STOPPED
        return self.exit_code


class ClusterJobs:
    """The skilljobs jobs of one cluster.

    Raises:
        InputError: there is no dashboard at `address`, or it requires a token.
    """

    def __init__(self, address: str) -> None:
        use_token_at_hand()
        from ray.job_submission import JobSubmissionClient

        self.address = address.rstrip("/")
        with without_ray_address():  # Ray would use that address instead
            self._client: JobSubmissionClient = self._ask(lambda: JobSubmissionClient(self.address))

    def submit(self, command: str, run_id: str, uri: str, about: Mapping[str, str] | None = None) -> ClusterJob:
        """Start `command` on the head, or return the job that is already running it.

        `about` goes into the job's metadata, which the dashboard shows, each key behind `skilljobs.`.

        Raises:
            InputError: a job is working on that run with another command.
        """
        for job in self.all():
            if job.uri == uri and not job.ended:
                if job.command != command:
                    raise InputError(
                        f"the job {job.id} is already working on {uri}, with another command: {job.command}"
                    )
                return job
        name = re.sub(r"[^A-Za-z0-9_-]", "-", run_id)
        metadata = {f"skilljobs.{key}": value for key, value in (about or {}).items()}
        metadata |= {NAME: run_id, RUN_ID: run_id, URI: uri, "skilljobs.version": version("skilljobs")}
        return self._start(command, f"skilljobs-{name}-{uuid.uuid4().hex[:6]}", metadata)

    def _start(self, command: str, job_id: str, metadata: dict[str, str]) -> ClusterJob:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                self._ask(
                    lambda: self._client.submit_job(
                        entrypoint=command, submission_id=job_id, metadata=metadata, runtime_env=_RUNTIME
                    )
                )
            except InputError as error:
                if _NOT_YET not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(EVERY_SECONDS)
            else:
                return self.get(job_id)

    def run_aside(self, command: str, options: Mapping[str, object], show: Callable[[str], None]) -> int:
        """Run another of skilljobs' commands on the head, from where the cluster and its storage are visible.

        `show` gets what it prints. An interrupt ends the command. Returns its exit code.
        """
        job_id = f"skilljobs-{command.partition(' ')[0]}-{uuid.uuid4().hex[:6]}"
        job = self._start(command_line(f"skilljobs {command}", options), job_id, {})
        try:
            for text in self.follow(job_id):
                show(text)
        except BaseException:
            self.stop(job)
            raise
        job = self.get(job_id)
        return 1 if job.outcome is None else job.outcome

    def get(self, job_id: str) -> ClusterJob:
        return _job(self._ask(lambda: self._client.get_job_info(job_id)))

    def all(self) -> list[ClusterJob]:
        """Newest first; jobs of other programs are left out."""
        jobs = [_job(details) for details in self._ask(self._client.list_jobs) if URI in (details.metadata or {})]
        return sorted(jobs, key=lambda job: job.begun, reverse=True)

    def find(self, run: str) -> ClusterJob:
        """The newest job of a run, named by the run's id, its directory, or the job's own id.

        Raises:
            InputError: the cluster knows no such job.
        """
        for job in self.all():
            if run.rstrip("/") in (job.id, job.run_id, job.uri):
                return job
        raise InputError(
            f"the cluster at {self.address} knows no job of the run {run!r} (`skilljobs runs --address {self.address}`"
            " lists them; a head that was restarted has forgotten its jobs, but a run's directory has not)"
        )

    def log(self, job_id: str) -> str:
        """All that the job has printed so far."""
        return _RAY_SAYS.sub("", str(self._ask(lambda: self._client.get_job_logs(job_id))))

    def follow(self, job_id: str) -> Iterator[str]:
        """What the job prints, as it comes, until it ends. A dashboard may be unreachable for a while.

        Raises:
            InputError: it was unreachable for more than a minute. The job continues.
        """
        shown, last_answer, ended = 0, time.monotonic(), False
        while not ended:
            try:
                ended = self.get(job_id).ended
                log = self.log(job_id)
                log = log if ended else log[: log.rfind("\n") + 1]  # whole lines
                last_answer = time.monotonic()
            except InputError:
                if time.monotonic() - last_answer > RETRY_SECONDS:
                    raise
            else:
                if len(log) > shown:
                    yield log[shown:]
                    shown = len(log)
            if not ended:
                time.sleep(EVERY_SECONDS)

    def conclude(self, job_id: str) -> None:
        """Fail as an ended job did.

        Raises:
            InputError: it refused its input.
            JobFailed: it failed, or was stopped.
        """
        job = self.get(job_id)
        if job.outcome == 0:
            return
        said = [line.removeprefix(_SAYS) for line in self.log(job_id).splitlines() if line.startswith(_SAYS)]
        if job.outcome == 127:
            said = [f"the head of {self.address} has no `skilljobs` on its PATH: install it on all machines"]
        reason = said[-1] if said else f"the job {job_id} {job.status.lower()}: {job.message}"
        if job.outcome == EXIT_STOPPED:
            raise JobFailed(f"the job {job_id} was stopped: committed shards are kept, and the same command resumes")
        raise InputError(reason) if job.outcome == 2 else JobFailed(reason)

    def stop(self, job: ClusterJob) -> ClusterJob:
        """Stop a job and wait until it has ended.

        Raises:
            JobFailed: it is still running after a minute.
        """
        self._ask(lambda: self._client.stop_job(job.id))
        deadline = time.monotonic() + STOP_SECONDS
        while not (job := self.get(job.id)).ended:
            if time.monotonic() > deadline:
                raise JobFailed(f"the job {job.id} was asked to stop and is still {job.status.lower()}")
            time.sleep(EVERY_SECONDS)
        return job

    def _ask(self, call: Any) -> Any:
        from ray.exceptions import AuthenticationError

        try:
            return call()
        except AuthenticationError as error:
            raise InputError(f"the cluster at {self.address} requires a token: {TOKEN_ADVICE}") from error
        except (ConnectionError, OSError) as error:
            raise InputError(
                f"no Ray dashboard could be reached at {self.address}: is it the head's, and its port open from here?"
            ) from error
        except (RuntimeError, ValueError) as error:
            raise InputError(f"the Ray dashboard at {self.address} refused: {str(error).splitlines()[0]}") from error


def command_line(command: str, options: Mapping[str, object]) -> str:
    """A shell command with more options. Options of value None or False are left out; True makes a flag."""
    words = [command]
    for name, value in options.items():
        if value is True:
            words.append(name)
        elif value not in (None, False):
            words.append(f"{name} {shlex.quote(str(value))}")
    return " ".join(words)


def _job(details: "JobDetails") -> ClusterJob:
    metadata = details.metadata or {}
    return ClusterJob(
        id=details.submission_id or "",
        run_id=metadata.get(RUN_ID, ""),
        uri=metadata.get(URI, ""),
        status=str(getattr(details.status, "value", details.status)),
        begun=(details.start_time or 0) / 1000,
        exit_code=details.driver_exit_code,
        message=(details.message or "").strip().partition("\n")[0],
        command=details.entrypoint,
    )
