"""Following a job in an experiment tracker, beside showing it: what is measured goes there."""

import math
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from typing import Any

from skilljobs.progress.reporter import Reporter, measured
from skilljobs.progress.trackers import Tracker, begin, reason_of


class TrackingReporter:
    """A reporter that passes everything on, and has a tracker record what is measured and how long stages take.

    The tracker's run begins with the first stage, so that a job that is refused, or is complete already, leaves none. A
    tracker that fails later is named once and then left alone: the job goes on.
    """

    def __init__(self, tracker: str, run_id: str, config: Mapping[str, Any], passed_to: Reporter) -> None:
        self._name, self._run_id, self._config = tracker, run_id, config
        self._passed_to = passed_to
        self._tracker: Tracker | None = None
        self._has_failed = False
        self._stage = ""

    def note(self, text: str) -> None:
        """See `Reporter`."""
        self._passed_to.note(text)

    def begin(self, stage: str, total: int | None) -> None:
        """See `Reporter`.

        Raises:
            InputError: this is the first stage, and the tracker could not begin.
        """
        self._stage = stage
        if self._tracker is None and not self._has_failed:
            self._tracker = begin(self._name, self._run_id, self._config)
        self._passed_to.begin(stage, total)

    def advance(self, done: int, detail: str) -> None:
        """See `Reporter`."""
        self._passed_to.advance(done, detail)

    def end(self, detail: str, seconds: float) -> None:
        """See `Reporter`."""
        self._passed_to.end(detail, seconds)
        self.measured({f"seconds/{self._stage}": seconds})

    def measured(self, values: Mapping[str, float | None], step: int | None = None) -> None:
        """Record those of `values` that are finite numbers."""
        measured(self._passed_to, values, step)
        known = {name: float(value) for name, value in values.items() if value is not None and math.isfinite(value)}
        if known:
            self._try(lambda tracker: tracker.log(known, step))

    def conclude(self, results: Callable[[], Mapping[str, float | None]]) -> None:
        """Record what the finished job found, if it did anything."""
        if self._tracker is not None:
            self.measured(results())

    def finish(self, failed: bool) -> None:
        """End the tracker's run."""
        self._try(lambda tracker: tracker.finish(failed))

    def _try(self, call: Callable[[Tracker], None]) -> None:
        if self._tracker is None:
            return
        try:
            with redirect_stdout(sys.stderr):
                call(self._tracker)
        except Exception as error:  # each library has errors of its own
            self._tracker, self._has_failed = None, True
            self.note(f"the tracker {self._name} failed ({reason_of(error)}): the job goes on without it")


@contextmanager
def tracked(tracker: str, run_id: str, config: Mapping[str, Any], passed_to: Reporter) -> Iterator[TrackingReporter]:
    """A `TrackingReporter` whose run is ended with the block: as failed, if that raises an exception."""
    reporter = TrackingReporter(tracker, run_id, config, passed_to)
    try:
        yield reporter
    except BaseException:
        reporter.finish(failed=True)
        raise
    reporter.finish(failed=False)
