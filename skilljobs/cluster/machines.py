"""Questions to the machines of the connected cluster, each asked by a task of its own."""

import platform
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import ray
from ray.exceptions import GetTimeoutError, RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from skilljobs.cluster.ray_errors import one_line, own_error
from skilljobs.errors import InputError, JobFailed
from skilljobs.plan.capacity import Cluster, Machine
from skilljobs.plan.landmarks import Landmarks
from skilljobs.worker.gpus import visible_gpus

SECONDS = 60.0
"""How long a machine may take to answer; while a particular one is awaited, a note is given this often."""

T = TypeVar("T")


@dataclass(frozen=True)
class Answer(Generic[T]):
    """What a function returned on one machine, or why it did not."""

    host: str
    value: T | None
    error: str = ""


def ask_every_machine(function: Callable[[], T], *, scorers_only: bool = False) -> list[Answer[T]]:
    """Call `function`, which must be importable there, on every machine, or on those that have CPUs for scorers."""
    asked = []
    for node in ray.nodes():
        if node["Alive"] and (node["Resources"].get("CPU") or not scorers_only):
            strategy = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            reference = _call.options(name="look_around", scheduling_strategy=strategy).remote(function)
            asked.append((f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})", node["NodeID"], reference))
    ray.wait([reference for *_, reference in asked], num_returns=len(asked), timeout=SECONDS)
    there = {node["NodeID"] for node in ray.nodes() if node["Alive"]}
    return [_answer(host, reference) for host, node, reference in asked if node in there]


def _answer(host: str, reference: ray.ObjectRef) -> Answer[T]:
    try:
        return Answer(host, ray.get(reference, timeout=0))
    except GetTimeoutError:
        return Answer(host, None, f"the machine {host} did not answer within {SECONDS:.0f} s")
    except RayError as error:
        return Answer(host, None, f"the machine {host} cannot run skilljobs: {one_line(error)}")


def refuse_missing(landmarks: Landmarks) -> None:
    """Ask every machine whether it sees the run and the model.

    Raises:
        InputError: names a machine that does not, and what it does not see.
    """
    for answer in ask_every_machine(landmarks.missing):
        if answer.error or answer.value:
            raise InputError(answer.error or answer.value)


def machine_for_replica(cluster: Cluster, gpus: int, on_note: Callable[[str], None]) -> Machine:
    """The machine that a replica is planned for, with the memory of the GPUs that Ray would give it now.

    If the cluster has GPUs of several kinds, a job stays with the kind that it met first.

    Raises:
        InputError: torch does not see the GPUs there.
        JobFailed: the machine gave no answer.
    """
    machine = cluster.machine_for(gpus)
    if not gpus:
        return machine
    # max_calls=1: otherwise Ray keeps the worker, and with it the memory of a GPU that it looked at
    look = ray.remote(num_cpus=0, num_gpus=gpus, max_retries=0, max_calls=1)(smallest_gpu_memory)
    reference = look.options(name="look_at_gpus").remote(gpus)
    while not ray.wait([reference], timeout=SECONDS)[0]:
        on_note(f"no machine has {gpus} GPUs free yet")
    try:
        return replace(machine, gpu_memory=ray.get(reference))
    except RayTaskError as error:
        raise own_error(error) from error
    except RayError as error:
        raise JobFailed(f"the GPUs could not be examined: {one_line(error)}") from error


def smallest_gpu_memory(gpus: int) -> int:
    """Bytes of the smallest GPU that torch sees here.

    Raises:
        InputError: it sees fewer than `gpus`, or cannot use them.
    """
    usable, reason = visible_gpus()
    if len(usable) < gpus:
        raise InputError(
            f"Ray gives {gpus} GPUs on the machine {platform.node()}, but torch can use {len(usable)} there{reason}:"
            " install a torch with CUDA and a matching driver (or use --gpus-per-replica 0)"
        )
    return min(int(gpu.total_memory) for gpu in usable)


@ray.remote(num_cpus=0, max_retries=0)
def _call(function: Callable[[], T]) -> T:
    return function()
