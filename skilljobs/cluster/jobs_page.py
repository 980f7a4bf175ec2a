"""What a job is at, on Ray's Jobs page: its stage, how far that is, and the time left, as the message of the job.

Ray (2.60) has no call by which a job sets its message. The dashboard shows the record that Ray keeps of each submitted
job in the store of its head; of that record, the message alone is changed here, and only while it says that the job is
running. How a job ended is written by Ray after the job's processes have ended, so that this cannot be overwritten.
Whatever goes wrong costs the message, never the job.
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from threading import Event, Thread

import ray
from ray.experimental.internal_kv import _internal_kv_get, _internal_kv_put

from skilljobs.progress.reporter import Reporter, StageClock, measured

EVERY_SECONDS = 2.0
"""Time between two changes of the message."""
JOB_CONFIG = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""The variable by which Ray tells the command of a submitted job its configuration."""
ID_KEY = "job_submission_id"
RECORDS, RECORD_KEY = b"job", "_ray_internal_job_info_{}"
"""Where Ray keeps the records of submitted jobs (`ray.dashboard.modules.job.common`, which takes long to import)."""


@contextmanager
def shown_on_jobs_page(reporter: Reporter) -> Iterator[Reporter]:
    """A reporter that passes everything on to `reporter` and, in a job of Ray's Jobs API, keeps the job's message."""
    job_id = submitted_job()
    if job_id is None:
        yield reporter
        return
    page = _JobsPage(job_id, reporter)
    ended = Event()
    writer = Thread(target=page.keep_written, args=(ended,), name="jobs page", daemon=True)
    writer.start()
    try:
        yield page
    finally:
        ended.set()
        writer.join(EVERY_SECONDS)


def submitted_job() -> str | None:
    """The id of the submitted job that this process is the command of; None if it is of none."""
    with suppress(ValueError, TypeError, AttributeError):
        found = json.loads(os.environ.get(JOB_CONFIG, "{}")).get("metadata", {})
        return str(found[ID_KEY]) if ID_KEY in found else None
    return None


def set_message(job_id: str, message: str) -> bool:
    """Set the message of a job that is running; whether there is one. Needs a connection to Ray."""
    key = RECORD_KEY.format(job_id).encode()
    stored = _internal_kv_get(key, namespace=RECORDS)
    record = json.loads(stored) if stored else {}
    if record.get("status") != "RUNNING":
        return False
    _internal_kv_put(key, json.dumps(record | {"message": message}).encode(), namespace=RECORDS)
    return True


class _JobsPage:
    """See `shown_on_jobs_page`."""

    def __init__(self, job_id: str, passed_to: Reporter) -> None:
        self._job_id, self._passed_to = job_id, passed_to
        self._clock = StageClock("", None)
        self._message = ""

    def note(self, text: str) -> None:
        self._passed_to.note(text)

    def begin(self, stage: str, total: int | None) -> None:
        self._passed_to.begin(stage, total)
        self._clock = StageClock(stage, total)
        self._message = stage

    def advance(self, done: int, detail: str) -> None:
        self._passed_to.advance(done, detail)
        self._clock.advance(done)
        total, left = self._clock.total, self._clock.left
        # the page cuts a message short: what matters most comes first
        parts = [f"{100 * done // total} %" if total else "", f"{left} left" if left else ""]
        parts += [f"{done} of {total}" if total else str(done), detail]
        self._message = f"{self._clock.stage}: {', '.join(filter(None, parts))}"

    def end(self, detail: str, seconds: float) -> None:
        self._passed_to.end(detail, seconds)
        self._message = f"{self._clock.stage}: {detail}"

    def measured(self, values: Mapping[str, float | None], step: int | None = None) -> None:
        """Pass on what was measured."""
        measured(self._passed_to, values, step)

    def keep_written(self, ended: Event) -> None:
        """Write each new message, until `ended`. Without Ray, as before it is started, none is written."""
        written = ""
        while not ended.wait(EVERY_SECONDS):
            message = self._message
            with suppress(Exception):  # a head that is away, or another version of Ray, must not end a job
                if message != written and ray.is_initialized() and set_message(self._job_id, message):
                    written = message
