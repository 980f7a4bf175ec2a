"""Reducers: one for each layer, one that ranks each metric and population, one that writes each layer.

They are Ray tasks, or threads of this process where there is little to do.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from itertools import count, cycle, islice
from typing import Any, Protocol, TypeVar

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from skilljobs.cluster.ray_errors import one_line
from skilljobs.cluster.session import refuse_dead_ray
from skilljobs.cluster.waiting import wait
from skilljobs.errors import JobFailed
from skilljobs.machine import available_cpus
from skilljobs.progress.reporter import Reporter
from skilljobs.reduce.final_tables import delete_unranked, write_correlations, write_rankings
from skilljobs.reduce.layers import ReduceJob, pairs
from skilljobs.reduce.significance import rank_pair
from skilljobs.stats.layout import Layout

LOOK_SECONDS = 5.0
"""Time between two looks whether Ray is still there."""
HERE_BYTES = 256_000_000
"""Sums of a run up to which this process reduces them: starting Ray's workers would take longer."""
MOST_THREADS = 4
T = TypeVar("T")


class Reducers(Protocol):
    """What runs the functions of a reduction."""

    def run_all(self, name: str, done: str, functions: Iterable[Callable[[], T]]) -> list[T]:
        """The results of all functions, in the order in which they end.

        Raises:
            JobFailed: one of them failed.
        """


def reduce_steps(layers: int, layout: Layout) -> int:
    """The number of steps that `reduce_all` reports."""
    return 2 * layers + len(pairs(layout)) + 1


class ReduceHere:
    """Runs functions in threads of this process; what they do is done outside of Python's lock for the most part."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter, self._steps = reporter, count(1)

    def run_all(self, name: str, done: str, functions: Iterable[Callable[[], T]]) -> list[T]:
        """See `Reducers`."""
        results = []
        threads = ThreadPoolExecutor(min(MOST_THREADS, available_cpus()), name)
        try:
            for future in as_completed([threads.submit(function) for function in functions]):
                results.append(future.result())
                self._reporter.advance(next(self._steps), done)
        except Exception as error:
            raise JobFailed(f"a reducer failed: {one_line(error)}") from error
        finally:
            threads.shutdown(cancel_futures=True)
        return results


class ReduceTasks:
    """Runs functions as tasks on `nodes`, the machines known to be fit, by Ray's ids; without any, on all machines.

    Idle scorers keep their CPUs reserved, so tasks request none: as many run at a time as the machines have CPUs.
    """

    def __init__(self, reporter: Reporter, nodes: Collection[str] = ()) -> None:
        cpus_of = {node["NodeID"]: int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]}
        cpus = {node: cpus_of[node] for node in nodes if node in cpus_of} or cpus_of
        self._places = cycle([node for node, count in cpus.items() for _ in range(count)] or list(cpus))
        self._steps, self._at_a_time = count(1), max(1, sum(cpus.values()))
        self._reporter = reporter

    def run_all(self, name: str, done: str, functions: Iterable[Callable[[], T]]) -> list[T]:
        """See `Reducers`."""
        left = iter(functions)
        try:
            running, results = [self._start(name, function) for function in islice(left, self._at_a_time)], []
            while running:
                ready = _first(running)
                running.remove(ready)
                results.append(ray.get(ready))
                running += [self._start(name, function) for function in islice(left, 1)]
                self._reporter.advance(next(self._steps), done)
        except RayError as error:
            raise JobFailed(f"a reducer failed: {one_line(error)}") from error
        return results

    def _start(self, name: str, function: Callable[[], T]) -> ray.ObjectRef:
        strategy = NodeAffinitySchedulingStrategy(next(self._places), soft=True)
        return _call.options(name=name, scheduling_strategy=strategy).remote(function)


def reducers(size: int, reporter: Reporter, nodes: Collection[str] = ()) -> Reducers:
    """What reduces sums of `size` bytes in all (0: not known): this process, or tasks on `nodes`."""
    return ReduceHere(reporter) if 0 < size <= HERE_BYTES else ReduceTasks(reporter, nodes)


def reduce_all(job: ReduceJob, reduce_one: Callable[[int], None], tasks: Reducers) -> None:
    """Run `reduce_one` for every layer, rank each metric and population over all layers, and write the tables.

    Raises:
        JobFailed: a reducer failed.
    """
    layers, ranks = range(job.layers), range(len(pairs(job.layout)))
    tasks.run_all("reduce_layer", "layers", (partial(reduce_one, layer) for layer in layers))
    ranked = tasks.run_all("rank", "metrics and populations ranked", (partial(rank_pair, job, p) for p in ranks))
    tasks.run_all("write_layer", "layers written", (partial(write_correlations, job, layer) for layer in layers))
    tasks.run_all("write_rankings", "top", [partial(write_rankings, job, ranked)])
    delete_unranked(job)  # not by a task, which Ray repeats if its worker dies


def _first(running: Sequence[ray.ObjectRef]) -> ray.ObjectRef:
    """The first that is done."""
    while not (ready := wait(running, LOOK_SECONDS)):
        refuse_dead_ray()
    return ready[0]


@ray.remote(num_cpus=0)
def _call(function: Callable[[], Any]) -> Any:
    return function()
