"""What a job tells of itself in its run's directory, for whoever sees that; and where it is told to stop."""

import json
import os
import platform
import signal
import threading
import time
from _thread import interrupt_main
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

from skilljobs.errors import InputError, JobFailed
from skilljobs.interrupts import Terminated, stops_on_sigterm
from skilljobs.reporter import Reporter, StageClock
from skilljobs.store.files import Folder
from skilljobs.store.run import LOG_NAME, PROGRESS_NAME, STOP_NAME, RunFiles, seconds_since

LOOK_SECONDS, WRITE_SECONDS = 1.0, 5.0
HEARD_SECONDS = 6 * WRITE_SECONDS
"""A job that was heard of so short a while ago may well live."""
MOST_LINES = 2000


class Journal:
    """A reporter that tells another one, and keeps a log and the progress in the run's directory while it is entered.

    A request to stop that is put there interrupts the main thread.
    """

    def __init__(self, folder: Folder, shown: Reporter) -> None:
        self._folder, self._shown = folder, shown
        self._clock = StageClock("", None)
        self._progress: dict[str, Any] = {
            "state": "running",
            "host": platform.node(),
            "pid": os.getpid(),
            "stage": None,
            "done": None,
            "total": None,
            "detail": "",
            "lines_dropped": 0,
        }
        self._lines: list[str] = []
        self._lock, self._ended = threading.Lock(), threading.Event()
        self._written, self._changed = 0.0, True
        self._owner, self._told_to_stop = threading.current_thread(), False
        self._thread = threading.Thread(target=self._live, name="journal", daemon=True)

    def __enter__(self) -> "Journal":
        before = RunFiles(self._folder.uri).progress() or {}
        if self._folder.exists(LOG_NAME):
            self._lines = self._folder.read(LOG_NAME).decode().splitlines()
            self._progress["lines_dropped"] = before.get("lines_dropped", 0)
        if before.get("state") == "running" and seconds_since(before["at"]) < HEARD_SECONDS:
            self._shown.note(f"maybe a job works on this run already: process {before['pid']} on {before['host']}")
        self._folder.delete(STOP_NAME)
        self._write()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        state, reason = "done", ""
        if isinstance(error, KeyboardInterrupt):
            state, reason = "stopped", "committed shards are kept, and the same command goes on with them"
        elif error is not None:
            told = isinstance(error, InputError | JobFailed)
            state, reason = "failed", str(error) if told else f"{type(error).__name__}: {error}"
        if reason:
            self._add(f"{state}: {reason}")
        self._progress |= {"state": state, "detail": reason or self._progress["detail"]}
        try:
            self._write()
        except OSError as failure:  # the job's own end is what counts
            self._shown.note(f"the run's progress could not be written: {failure}")

    def note(self, text: str) -> None:
        self._shown.note(text)
        self._add(text)

    def begin(self, stage: str, total: int | None) -> None:
        self._heed()
        self._shown.begin(stage, total)
        self._clock = StageClock(stage, total)
        self._say(stage=stage, done=0, total=total, detail="")

    def advance(self, done: int, detail: str) -> None:
        self._heed()
        self._shown.advance(done, detail)
        self._clock.advance(done)
        left = self._clock.left
        self._say(done=done, detail=f"{detail}, {left} left" if left else detail)
        if self._clock.due:
            self._add(self._clock.line(done, detail))

    def end(self, detail: str, seconds: float) -> None:
        self._shown.end(detail, seconds)
        self._say(detail=detail)
        self._add(f"{self._clock.stage}: {detail} ({seconds:.1f} s)")

    def _say(self, **progress: Any) -> None:
        with self._lock:
            self._progress |= progress
            self._changed = True

    def _add(self, text: str) -> None:
        with self._lock:
            self._lines += [f"{_now()}  {line}" for line in text.splitlines()]
            self._progress["lines_dropped"] += max(0, len(self._lines) - MOST_LINES)
            del self._lines[:-MOST_LINES]
            self._changed = True

    def _live(self) -> None:
        while not self._ended.wait(LOOK_SECONDS):
            try:
                if self._folder.exists(STOP_NAME):
                    self._folder.delete(STOP_NAME)
                    self._interrupt()
                if time.monotonic() - self._written > (WRITE_SECONDS if self._changed else 4 * WRITE_SECONDS):
                    self._write()
            except OSError:  # storage that is away for a moment must not end a job; the shards' own writes decide that
                continue

    def _write(self) -> None:
        with self._lock:
            self._progress["at"] = _now()
            progress, log = json.dumps(self._progress, indent=2) + "\n", "\n".join([*self._lines, ""])
            self._changed, self._written = False, time.monotonic()
        self._folder.write(LOG_NAME, log.encode())
        self._folder.write(PROGRESS_NAME, progress.encode())

    def _interrupt(self) -> None:
        if self._owner is not threading.main_thread():
            self._told_to_stop = True
        elif stops_on_sigterm():
            os.kill(os.getpid(), signal.SIGTERM)
        else:
            interrupt_main()

    def _heed(self) -> None:
        """A thread other than the main one cannot be interrupted: it stops when it next tells something."""
        if self._told_to_stop and threading.current_thread() is self._owner:
            raise Terminated


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
