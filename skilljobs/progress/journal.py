"""The progress and the log that a job keeps in its run's directory, and the requests to stop that it finds there."""

import os
import signal
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import Any

from skilljobs.errors import InputError, JobFailed, Terminated
from skilljobs.progress.interrupts import interrupted_by, signals_raised
from skilljobs.progress.job_progress import JobProgress, read_progress, timestamp
from skilljobs.progress.reporter import Reporter, StageClock, measured
from skilljobs.store.files import Folder
from skilljobs.store.run import LOG_NAME, PROGRESS_NAME, STOP_NAME

LOOK_SECONDS, WRITE_SECONDS = 1.0, 5.0
MOST_LINES = 2000


class Journal:
    """A reporter that passes everything on to another one and, as a context, keeps a log and the progress in `folder`.

    A request to stop that appears in the folder is raised as `Terminated` in the thread that entered the context: at
    once if that is the main thread, otherwise when it next reports something.
    """

    def __init__(self, folder: Folder, passed_to: Reporter) -> None:
        self._folder, self._passed_to = folder, passed_to
        self._clock = StageClock("", None)
        self._progress = JobProgress.of_this_process()
        self._lines: list[str] = []
        self._lock, self._ended = threading.Lock(), threading.Event()
        self._written, self._changed = 0.0, True
        self._owner, self._stop_requested = threading.current_thread(), False
        self._thread = threading.Thread(target=self._keep_watch, name="journal", daemon=True)
        self._signals = ExitStack()

    def __enter__(self) -> "Journal":
        before = read_progress(self._folder)
        if self._folder.exists(LOG_NAME):
            self._lines = self._folder.read(LOG_NAME).decode(errors="replace").splitlines()
            self._progress = self._progress.changed(lines_dropped=before.lines_dropped if before else 0)
        self._folder.delete(STOP_NAME)
        self._write()
        self._signals.enter_context(signals_raised())
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        self._signals.close()
        state, reason = "done", ""
        is_expected = isinstance(error, InputError | JobFailed)
        if isinstance(error, KeyboardInterrupt) or (error is not None and not is_expected and interrupted_by()):
            state, reason = "stopped", "committed shards are kept, and the same command resumes"
        elif error is not None:
            state, reason = "failed", str(error) if is_expected else f"{type(error).__name__}: {error}"
        if reason:
            self._log(f"{state}: {reason}")
        self._progress = self._progress.changed(state=state, detail=reason or self._progress.detail)
        try:
            self._write()
        except OSError as failure:  # what became of the job itself matters more
            self._passed_to.note(f"the run's progress could not be written: {failure}")

    def note(self, text: str) -> None:
        self._passed_to.note(text)
        self._log(text)

    def begin(self, stage: str, total: int | None) -> None:
        self._raise_if_stopped()
        self._passed_to.begin(stage, total)
        self._clock = StageClock(stage, total)
        self._change(stage=stage, done=0, total=total, detail="")

    def advance(self, done: int, detail: str) -> None:
        self._raise_if_stopped()
        self._passed_to.advance(done, detail)
        self._clock.advance(done)
        left = self._clock.left
        self._change(done=done, detail=f"{detail}, {left} left" if left else detail)
        if self._clock.due:
            self._clock.shown()
            self._log(self._clock.line(done, detail))

    def end(self, detail: str, seconds: float) -> None:
        self._passed_to.end(detail, seconds)
        self._change(detail=detail)
        self._log(f"{self._clock.stage}: {detail} ({seconds:.1f} s)")

    def measured(self, values: Mapping[str, float | None], step: int | None = None) -> None:
        """Pass on what was measured."""
        measured(self._passed_to, values, step)

    def _change(self, **changes: Any) -> None:
        with self._lock:
            self._progress = self._progress.changed(**changes)
            self._changed = True

    def _log(self, text: str) -> None:
        with self._lock:
            self._lines += [f"{timestamp()}  {line}" for line in text.splitlines()]
            dropped = max(0, len(self._lines) - MOST_LINES)
            self._progress = self._progress.changed(lines_dropped=self._progress.lines_dropped + dropped)
            del self._lines[:dropped]
            self._changed = True

    def _keep_watch(self) -> None:
        while not self._ended.wait(LOOK_SECONDS):
            try:
                if self._folder.exists(STOP_NAME):
                    self._folder.delete(STOP_NAME)
                    self._stop()
                if time.monotonic() - self._written > (WRITE_SECONDS if self._changed else 4 * WRITE_SECONDS):
                    self._write()
            except OSError:  # storage that is away for a moment must not end a job; the shards' own writes decide that
                continue

    def _write(self) -> None:
        with self._lock:
            self._progress = self._progress.written_now()
            progress, log = self._progress.to_bytes(), "\n".join([*self._lines, ""])
            self._changed, self._written = False, time.monotonic()
        self._folder.write(LOG_NAME, log.encode())
        self._folder.write(PROGRESS_NAME, progress)

    def _stop(self) -> None:
        self._stop_requested = True
        if self._owner is threading.main_thread():
            # not SIGINT, which a job that was started in the background of a script ignores
            os.kill(os.getpid(), signal.SIGTERM)

    def _raise_if_stopped(self) -> None:
        """Stop a thread that signals do not reach."""
        main = self._owner is threading.main_thread()
        if self._stop_requested and not main and threading.current_thread() is self._owner:
            raise Terminated
