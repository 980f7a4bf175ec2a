"""A stage of a job: timed, shown, and recorded as done."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from skilljobs.engine.cluster.authentication import where_token_is
from skilljobs.engine.cluster.capacity import Cluster, Placement
from skilljobs.engine.cluster.session import ray_session
from skilljobs.engine.cluster.telemetry import count
from skilljobs.reporter import Reporter
from skilljobs.store.run import RunFiles


@contextmanager
def connected(run: RunFiles, reporter: Reporter, placement: Placement) -> Iterator[Cluster]:
    """`ray_session`, its start timed and shown as a stage."""
    with ExitStack() as stack:
        with stage(run, reporter, "ray") as done:
            cluster = stack.enter_context(ray_session(placement.address, placement.debug))
            done(f"dashboard at {cluster.dashboard}{where_token_is()}" if cluster.dashboard else "already connected")
        yield cluster


@contextmanager
def stage(run: RunFiles, reporter: Reporter, name: str, total: int | None = None) -> Iterator[Callable[[str], None]]:
    """Time a stage, show it and record it as done. The body calls what it gets with a summary."""
    with timed(reporter, name, total) as timing:
        yield timing.done
    run.finish_stage(name, timing.seconds)
    count("stage_seconds", timing.seconds, run.record["run_id"], stage=name)


@dataclass
class Timing:
    """What is known of a stage at its end."""

    seconds: float = 0.0
    summary: str = ""

    def done(self, summary: str) -> None:
        self.summary = summary


@contextmanager
def timed(reporter: Reporter, name: str, total: int | None = None) -> Iterator[Timing]:
    """Time a stage and show it."""
    timing = Timing()
    reporter.begin(name, total)
    begun = time.monotonic()
    yield timing
    timing.seconds = time.monotonic() - begun
    reporter.end(timing.summary, timing.seconds)
