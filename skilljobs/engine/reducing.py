"""Reducers as Ray tasks: one a layer, then one that ranks them."""

from collections.abc import Callable
from functools import partial

import ray
from ray.exceptions import RayError

from skilljobs.engine.pool import one_line
from skilljobs.engine.reducer import ReduceJob, rank
from skilljobs.errors import JobFailed
from skilljobs.reporter import Reporter


def reduce_all(job: ReduceJob, reduce_one: Callable[[int], None], reporter: Reporter) -> None:
    """Run `reduce_one` for every layer, wherever there is room, and rank what they wrote.

    Raises:
        JobFailed: a reducer failed.
    """
    waiting = [_call.options(name="reduce_layer").remote(partial(reduce_one, layer)) for layer in range(job.layers)]
    try:
        while waiting:
            ready, waiting = ray.wait(waiting)
            ray.get(ready)
            reporter.advance(job.layers - len(waiting), "layers")
        ray.get(_call.options(name="rank").remote(partial(rank, job)))
    except RayError as error:
        raise JobFailed(f"a reducer failed: {one_line(error)}") from error


@ray.remote(num_cpus=1)
def _call(function: Callable[[], None]) -> None:
    function()
