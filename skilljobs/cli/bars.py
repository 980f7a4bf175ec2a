"""Progress bars on a terminal, lines elsewhere; both on standard error."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from skilljobs.printable import printable_lines
from skilljobs.progress.reporter import LineReporter, Reporter


class BarReporter:
    """A bar for the stage that runs, a line for each that is done."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task: TaskID | None = None
        self._stage = ""

    def note(self, text: str) -> None:
        self._progress.console.print(printable_lines(text), highlight=False, markup=False)

    def begin(self, stage: str, total: int | None) -> None:
        self._stage = stage
        self._task = self._progress.add_task(stage, total=total, detail="")

    def advance(self, done: int, detail: str) -> None:
        if self._task is not None:
            self._progress.update(self._task, completed=done, detail=detail)

    def end(self, detail: str, seconds: float) -> None:
        if self._task is not None:
            self._progress.remove_task(self._task)
            self._task = None
        self.note(f"{self._stage}: {detail} ({seconds:.1f} s)")


@contextmanager
def reporter() -> Iterator[Reporter]:
    """The reporter that suits standard error."""
    if not sys.stderr.isatty():
        yield LineReporter()
        return
    columns = [
        TextColumn("{task.description:<10}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[detail]}"),
    ]
    with Progress(*columns, console=Console(stderr=True)) as progress:
        yield BarReporter(progress)
