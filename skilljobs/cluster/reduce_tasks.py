"""Reducers as Ray tasks: one for each layer, one that ranks each metric and population, one that writes each layer."""

from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from itertools import count, cycle, islice
from typing import Any, TypeVar

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from skilljobs.cluster.ray_errors import one_line
from skilljobs.cluster.session import refuse_dead_ray
from skilljobs.cluster.waiting import wait
from skilljobs.errors import JobFailed
from skilljobs.progress.reporter import Reporter
from skilljobs.reduce.final_tables import write_correlations, write_rankings
from skilljobs.reduce.layers import ReduceJob, pairs
from skilljobs.reduce.significance import rank_pair
from skilljobs.stats.layout import Layout

LOOK_SECONDS = 5.0
"""Time between two looks whether Ray is still there."""
T = TypeVar("T")


def reduce_steps(layers: int, layout: Layout) -> int:
    """The number of steps that `reduce_all` reports."""
    return 2 * layers + len(pairs(layout)) + 1


def reduce_all(
    job: ReduceJob, reduce_one: Callable[[int], None], reporter: Reporter, nodes: Collection[str] = ()
) -> None:
    """Run `reduce_one` for every layer, rank each metric and population over all layers, and write the tables.

    `nodes` are the machines known to be fit, by Ray's ids; if there are none, all machines are used. Idle scorers keep
    their CPUs reserved, so reducers request none: as many run at a time as the machines have CPUs.

    Raises:
        JobFailed: a reducer failed.
    """
    cpus_of = {node["NodeID"]: int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]}
    cpus = {node: cpus_of[node] for node in nodes if node in cpus_of} or cpus_of
    places = cycle([node for node, count in cpus.items() for _ in range(count)] or list(cpus))
    steps, at_a_time = count(1), max(1, sum(cpus.values()))

    def run_all(name: str, done: str, functions: Iterable[Callable[[], T]]) -> list[T]:
        """The results of all functions, in the order in which they end."""

        def start(function: Callable[[], T]) -> ray.ObjectRef:
            strategy = NodeAffinitySchedulingStrategy(next(places), soft=True)
            return _call.options(name=name, scheduling_strategy=strategy).remote(function)

        left = iter(functions)
        running, results = [start(function) for function in islice(left, at_a_time)], []
        while running:
            ready = _first(running)
            running.remove(ready)
            results.append(ray.get(ready))
            running += [start(function) for function in islice(left, 1)]
            reporter.advance(next(steps), done)
        return results

    layers, ranks = range(job.layers), range(len(pairs(job.layout)))
    try:
        run_all("reduce_layer", "layers", (partial(reduce_one, layer) for layer in layers))
        ranked = run_all("rank", "metrics and populations ranked", (partial(rank_pair, job, place) for place in ranks))
        run_all("write_layer", "layers written", (partial(write_correlations, job, layer) for layer in layers))
        run_all("write_rankings", "top", [partial(write_rankings, job, ranked)])
    except RayError as error:
        raise JobFailed(f"a reducer failed: {one_line(error)}") from error


def _first(running: Sequence[ray.ObjectRef]) -> ray.ObjectRef:
    """The first that is done."""
    while not (ready := wait(running, LOOK_SECONDS)):
        refuse_dead_ray()
    return ready[0]


@ray.remote(num_cpus=0)
def _call(function: Callable[[], Any]) -> Any:
    return function()
