"""Showing a person how a job is doing. A job calls a reporter, which decides what that looks like."""

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from skilljobs.printable import printable_lines


class Reporter(Protocol):
    """Receives what happens. All output is for people, and goes to standard error."""

    def note(self, text: str) -> None:
        """Show a line of text."""

    def begin(self, stage: str, total: int | None) -> None:
        """A stage begins, with `total` steps if their number is known."""

    def advance(self, done: int, detail: str) -> None:
        """`done` steps of the stage are finished."""

    def end(self, detail: str, seconds: float) -> None:
        """The stage is finished; `detail` says what it did."""


def measured(reporter: Reporter, values: Mapping[str, float | None], step: int | None = None) -> None:
    """Tell a reporter that has a method `measured` (see `TrackingReporter`) what was measured, at a step of tuning."""
    record = getattr(reporter, "measured", None)
    if record is not None:
        record(values, step)


class StageClock:
    """Decides when a running stage is worth another line, and estimates how long it will take."""

    EVERY_SECONDS = 10.0

    def __init__(self, stage: str, total: int | None) -> None:
        self.stage, self.total = stage, total
        self._last = time.monotonic()
        self._first: tuple[float, int] | None = None
        self._done = 0

    def advance(self, done: int) -> None:
        self._done = done
        if self._first is None:
            self._first = time.monotonic(), done

    @property
    def left(self) -> str:
        """The time left at the present rate; empty if it cannot be estimated yet."""
        if self.total is None or self._first is None or self._done <= self._first[1]:
            return ""
        begun, before = self._first
        seconds = (time.monotonic() - begun) / (self._done - before) * max(0, self.total - self._done)
        minutes, seconds = divmod(round(seconds), 60)
        hours, minutes = divmod(minutes, 60)
        return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s" if minutes else f"{seconds} s"

    @property
    def due(self) -> bool:
        """Whether it is time for another line."""
        return time.monotonic() - self._last >= self.EVERY_SECONDS

    def shown(self) -> None:
        """A line has just been shown."""
        self._last = time.monotonic()

    def line(self, done: int, detail: str) -> str:
        of = f" of {self.total}" if self.total else ""
        left = f", {self.left} left" if self.left else ""
        return f"{self.stage}: {done}{of}, {detail}{left}"


class LineReporter:
    """Prints a line for each stage, and one every ten seconds while it runs: for logs, notebooks and pipes."""

    def __init__(self) -> None:
        self._clock = StageClock("", None)

    def note(self, text: str) -> None:
        print(printable_lines(text), file=sys.stderr, flush=True)

    def begin(self, stage: str, total: int | None) -> None:
        self._clock = StageClock(stage, total)

    def advance(self, done: int, detail: str) -> None:
        self._clock.advance(done)
        if self._clock.due:
            self._clock.shown()
            self.note(self._clock.line(done, detail))

    def end(self, detail: str, seconds: float) -> None:
        self.note(f"{self._clock.stage}: {detail} ({seconds:.1f} s)")


class SilentReporter:
    """Shows nothing."""

    def note(self, text: str) -> None: ...
    def begin(self, stage: str, total: int | None) -> None: ...
    def advance(self, done: int, detail: str) -> None: ...
    def end(self, detail: str, seconds: float) -> None: ...


@dataclass
class Timing:
    """What is known about a stage at its end."""

    seconds: float = 0.0
    summary: str = ""


@contextmanager
def timed(reporter: Reporter, name: str, steps: int | None = None) -> Iterator[Timing]:
    """Time a stage and show it. The body sets the summary of what it yields."""
    timing = Timing()
    reporter.begin(name, steps)
    begun = time.monotonic()
    yield timing
    timing.seconds = time.monotonic() - begun
    reporter.end(timing.summary, timing.seconds)
