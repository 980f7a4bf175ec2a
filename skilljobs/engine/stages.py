"""A stage of a job: timed, shown, and recorded as done."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from skilljobs.engine.session import Cluster, ray_session
from skilljobs.reporter import Reporter
from skilljobs.store.run import RunFiles


@contextmanager
def connected(run: RunFiles, reporter: Reporter, debug: bool) -> Iterator[Cluster]:
    """`ray_session`, its start timed and shown as a stage."""
    with ExitStack() as stack:
        with stage(run, reporter, "ray") as done:
            cluster = stack.enter_context(ray_session(debug))
            done(f"dashboard at {cluster.dashboard}" if cluster.dashboard else "already connected")
        yield cluster


@contextmanager
def stage(run: RunFiles, reporter: Reporter, name: str, total: int | None = None) -> Iterator[Callable[[str], None]]:
    """Time a stage, show it and record it as done. The body calls what it gets with a summary."""
    summary = ""

    def done(text: str) -> None:
        nonlocal summary
        summary = text

    reporter.begin(name, total)
    begun = time.monotonic()
    yield done
    seconds = time.monotonic() - begun
    run.finish_stage(name, seconds)
    reporter.end(summary, seconds)
