"""How a run is doing, waiting for it, and how a notebook shows it."""

import time
from html import escape

from skilljobs.errors import InputError, JobFailed
from skilljobs.printable import printable, well_formed
from skilljobs.progress.job_state import job_state
from skilljobs.store.reader import RunReader
from skilljobs.store.record import RunRecord
from skilljobs.store.run import RunFiles

POLL_SECONDS = 1.0


def status_of(run: RunReader) -> str:
    """Return how a run is doing, in words that begin with `complete`, `running`, `stopped`, `failed` or the like."""
    run.reload()
    if run.record.is_complete:
        return "complete"
    state = job_state(run.folder)
    return state.text if state is not None else "not begun"


def record_of(files: RunFiles) -> RunRecord:
    """Return the record of a run.

    Raises:
        InputError: there is none (yet), and what a job is doing about it; or it cannot be read.
    """
    try:
        return files.record
    except InputError as error:
        state = None if files.exists else job_state(files.folder)
        if state is None:
            raise
        raise InputError(f"the run at {files.uri} has no record yet: its job is {state.text}") from error


def way_on_of(run: RunReader) -> str:
    """Return whether a job works on an incomplete run, and if none does, what would."""
    state = job_state(run.folder)
    if state is not None and state.is_running:
        return f"its job is {state.text}"
    last = "" if state is None else f" (the last one: {state.text})"
    return f"no job works on it{last}; submit it again to resume it"


def wait_for(run: RunReader, timeout: float | None = None) -> None:
    """Return once a run is complete.

    Raises:
        JobFailed: no job works on it any more, and it is not complete; how to resume it is said.
        TimeoutError: it is not complete after `timeout` seconds.
        InputError: no job has begun it.
    """
    begun = time.monotonic()
    while True:
        state = job_state(run.folder)  # before the record: a job that ends in between has completed that
        run.reload()
        if run.record.is_complete:
            return
        if state is None:
            raise InputError(f"no job has begun the run at {run.uri}")
        if not state.is_running:
            raise JobFailed(f"the run at {run.uri} is not complete: {state.text}")
        if timeout is not None and time.monotonic() - begun > timeout:
            raise TimeoutError(f"the run at {run.uri} is not complete after {timeout:g} s: {state.text}")
        time.sleep(POLL_SECONDS)


def html_of(run: RunReader) -> str:
    """Return a small table of what a run is, for notebooks."""
    record, spec = run.record, run.record.job_spec
    rows = {
        "run": record.run_id,
        "task": spec.task or spec.data or "",
        "model": record.model.name,
        "test examples": f"{record.examples.test:,}",
        "accuracy on test": "" if record.accuracy.test is None else f"{record.accuracy.test:.3f}",
        "state": status_of(run),
        "directory": run.uri,
    }
    cells = "".join(
        f"<tr><th style='text-align:left'>{escape(name)}</th><td>{escape(printable(value))}</td></tr>"
        for name, value in rows.items()
        if value
    )
    return well_formed(f"<table>{cells}</table>")
