"""Telling a person how a job goes. The engine calls a reporter; what it looks like is decided here and in the CLI."""

import sys
import time
from typing import Protocol


class Reporter(Protocol):
    """Receives what happens. All output is for people, on standard error."""

    def note(self, text: str) -> None:
        """Something worth a line."""

    def begin(self, stage: str, total: int | None) -> None:
        """A stage begins; `total` steps where their number is known."""

    def advance(self, done: int, detail: str) -> None:
        """`done` steps of the stage are finished."""

    def end(self, detail: str, seconds: float) -> None:
        """The stage is finished."""


class LineReporter:
    """A line a stage, and one now and then while it runs: for logs, notebooks and pipes."""

    EVERY_SECONDS = 10.0

    def __init__(self) -> None:
        self._stage = ""
        self._total: int | None = None
        self._last = 0.0

    def note(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def begin(self, stage: str, total: int | None) -> None:
        self._stage, self._total, self._last = stage, total, time.monotonic()

    def advance(self, done: int, detail: str) -> None:
        if time.monotonic() - self._last >= self.EVERY_SECONDS:
            self._last = time.monotonic()
            of = f" of {self._total}" if self._total else ""
            self.note(f"{self._stage}: {done}{of}, {detail}")

    def end(self, detail: str, seconds: float) -> None:
        self.note(f"{self._stage}: {detail} ({seconds:.1f} s)")


class SilentReporter:
    """Says nothing."""

    def note(self, text: str) -> None: ...
    def begin(self, stage: str, total: int | None) -> None: ...
    def advance(self, done: int, detail: str) -> None: ...
    def end(self, detail: str, seconds: float) -> None: ...
