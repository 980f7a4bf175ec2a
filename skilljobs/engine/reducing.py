"""Reducers as Ray tasks: one a layer, then one that ranks them."""

from collections.abc import Callable, Collection
from functools import partial
from itertools import cycle, islice

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from skilljobs.engine.cluster.ray_errors import one_line
from skilljobs.engine.reducer import ReduceJob, rank
from skilljobs.errors import JobFailed
from skilljobs.reporter import Reporter


def reduce_all(
    job: ReduceJob, reduce_one: Callable[[int], None], reporter: Reporter, nodes: Collection[str] = ()
) -> None:
    """Run `reduce_one` for every layer, and rank what they wrote.

    `nodes` are the machines that have been seen to fit, by Ray's ids; none named: all that are there. The scorers keep
    their CPUs meanwhile and wait, so reducers ask for none: at a time there are as many as the machines have CPUs.

    Raises:
        JobFailed: a reducer failed.
    """
    there = {node["NodeID"]: int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]}
    cpus = {node: there[node] for node in nodes if node in there} or there
    places = cycle([node for node, count in cpus.items() for _ in range(count)] or list(cpus))

    def start(layer: int) -> ray.ObjectRef:
        strategy = NodeAffinitySchedulingStrategy(next(places), soft=True)
        return _call.options(name="reduce_layer", scheduling_strategy=strategy).remote(partial(reduce_one, layer))

    layers = iter(range(job.layers))
    running, done = [start(layer) for layer in islice(layers, max(1, sum(cpus.values())))], 0
    try:
        while running:
            ready, running = ray.wait(running)
            ray.get(ready)
            done += 1
            running += [start(layer) for layer in islice(layers, 1)]
            reporter.advance(done, "layers")
        last = NodeAffinitySchedulingStrategy(next(places), soft=True)
        ray.get(_call.options(name="rank", scheduling_strategy=last).remote(partial(rank, job)))
    except RayError as error:
        raise JobFailed(f"a reducer failed: {one_line(error)}") from error


@ray.remote(num_cpus=0)
def _call(function: Callable[[], None]) -> None:
    function()
