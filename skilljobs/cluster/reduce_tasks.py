"""Reducers as Ray tasks: one for each layer, then one that ranks them."""

from collections.abc import Callable, Collection, Sequence
from functools import partial
from itertools import cycle, islice

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from skilljobs.cluster.ray_errors import one_line
from skilljobs.cluster.session import refuse_dead_ray
from skilljobs.cluster.waiting import wait
from skilljobs.errors import JobFailed
from skilljobs.progress.reporter import Reporter
from skilljobs.reduce.layers import ReduceJob, rank

LOOK_SECONDS = 5.0
"""Time between two looks whether Ray is still there."""


def reduce_all(
    job: ReduceJob, reduce_one: Callable[[int], None], reporter: Reporter, nodes: Collection[str] = ()
) -> None:
    """Run `reduce_one` for every layer, and then rank the results.

    `nodes` are the machines known to be fit, by Ray's ids; if there are none, all machines are used. Idle scorers keep
    their CPUs reserved, so reducers request none: as many run at a time as the machines have CPUs.

    Raises:
        JobFailed: a reducer failed.
    """
    cpus_of = {node["NodeID"]: int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]}
    cpus = {node: cpus_of[node] for node in nodes if node in cpus_of} or cpus_of
    places = cycle([node for node, count in cpus.items() for _ in range(count)] or list(cpus))

    def start(layer: int) -> ray.ObjectRef:
        strategy = NodeAffinitySchedulingStrategy(next(places), soft=True)
        return _call.options(name="reduce_layer", scheduling_strategy=strategy).remote(partial(reduce_one, layer))

    layers = iter(range(job.layers))
    running, done = [start(layer) for layer in islice(layers, max(1, sum(cpus.values())))], 0
    try:
        while running:
            ready = _first(running)
            running.remove(ready)
            ray.get(ready)
            done += 1
            running += [start(layer) for layer in islice(layers, 1)]
            reporter.advance(done, "layers")
        last = NodeAffinitySchedulingStrategy(next(places), soft=True)
        ray.get(_first([_call.options(name="rank", scheduling_strategy=last).remote(partial(rank, job))]))
    except RayError as error:
        raise JobFailed(f"a reducer failed: {one_line(error)}") from error


def _first(running: Sequence[ray.ObjectRef]) -> ray.ObjectRef:
    """The first that is done."""
    while not (ready := wait(running, LOOK_SECONDS)):
        refuse_dead_ray()
    return ready[0]


@ray.remote(num_cpus=0)
def _call(function: Callable[[], None]) -> None:
    function()
