"""Reducers as Ray tasks: one a layer, then one that ranks them."""

from collections.abc import Callable
from functools import partial
from itertools import islice

import ray
from ray.exceptions import RayError

from skilljobs.engine.pool import one_line
from skilljobs.engine.reducer import ReduceJob, rank
from skilljobs.errors import JobFailed
from skilljobs.reporter import Reporter


def reduce_all(job: ReduceJob, reduce_one: Callable[[int], None], at_once: int, reporter: Reporter) -> None:
    """Run `reduce_one` for every layer, `at_once` at a time, and rank what they wrote.

    The scorers keep their CPUs meanwhile and wait, so reducers ask for none.

    Raises:
        JobFailed: a reducer failed.
    """
    layers = iter(range(job.layers))
    running, done = [_start(reduce_one, layer) for layer in islice(layers, at_once)], 0
    try:
        while running:
            ready, running = ray.wait(running)
            ray.get(ready)
            done += 1
            running += [_start(reduce_one, layer) for layer in islice(layers, 1)]
            reporter.advance(done, "layers")
        ray.get(_call.options(name="rank").remote(partial(rank, job)))
    except RayError as error:
        raise JobFailed(f"a reducer failed: {one_line(error)}") from error


def _start(reduce_one: Callable[[int], None], layer: int) -> ray.ObjectRef:
    return _call.options(name="reduce_layer").remote(partial(reduce_one, layer))


@ray.remote(num_cpus=0, scheduling_strategy="SPREAD")
def _call(function: Callable[[], None]) -> None:
    function()
