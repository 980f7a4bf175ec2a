"""Showing a job in a notebook: one display below the cell, which changes as the job goes on."""

import logging
import sys
import time
import warnings
from html import escape
from typing import Any

from skilljobs.printable import printable_lines, well_formed
from skilljobs.progress.reporter import LineReporter, Reporter, StageClock

SHOW_SECONDS = 0.25
"""Time between two changes of the display while a stage runs."""


def suitable_reporter() -> Reporter:
    """Return what shows a job in a notebook if this process runs one, and otherwise lines on standard error."""
    if not is_notebook():
        return LineReporter()
    # what other libraries say of widgets that are not installed would stand above the display
    warnings.filterwarnings("ignore", message="IProgress not found")
    logging.getLogger("ray.widgets.util").setLevel(logging.WARNING)
    return NotebookReporter()


def is_notebook() -> bool:
    """Return whether this process runs the cells of a notebook. A terminal's IPython is none."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None


class NotebookReporter:
    """A line for each finished stage and each note, and a bar for the stage that runs, in one display."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._running = ""
        self._done = 0
        self._clock = StageClock("", None)
        self._handle: Any = None
        self._shown = 0.0

    def note(self, text: str) -> None:
        self._lines.append(printable_lines(text))
        self._show()

    def begin(self, stage: str, total: int | None) -> None:
        self._clock, self._running, self._done = StageClock(stage, total), f"{stage} ...", 0
        self._show()

    def advance(self, done: int, detail: str) -> None:
        self._clock.advance(done)
        self._running, self._done = printable_lines(self._clock.line(done, detail)), done
        if time.monotonic() - self._shown >= SHOW_SECONDS:
            self._show()

    def end(self, detail: str, seconds: float) -> None:
        self._running = ""
        self.note(f"{self._clock.stage}: {detail} ({seconds:.1f} s)")

    def _show(self) -> None:
        from IPython.display import display

        self._shown = time.monotonic()
        if self._handle is None:
            self._handle = display(self, display_id=True)
        else:
            self._handle.update(self)

    def __repr__(self) -> str:
        return "\n".join([*self._lines, self._running] if self._running else self._lines)

    def _repr_html_(self) -> str:
        lines = "".join(f"<div>{escape(line)}</div>" for line in self._lines)
        if self._running:
            total = self._clock.total
            amount = f" value='{self._done}' max='{total}'" if total else ""
            lines += f"<div><progress{amount} style='width:12em'></progress> {escape(self._running)}</div>"
        return well_formed(f"<div style='font-family:monospace;white-space:pre-wrap'>{lines}</div>")
