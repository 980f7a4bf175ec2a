"""Something done once on every machine of the connected cluster."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import ray
from ray.exceptions import GetTimeoutError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from skilljobs.engine.cluster.ray_errors import one_line
from skilljobs.engine.cluster.visibility import Landmarks
from skilljobs.errors import InputError

SECONDS = 60.0
"""A machine that has not answered by then is told as one that does not answer."""

T = TypeVar("T")


@dataclass(frozen=True)
class Answer(Generic[T]):
    """Of one machine: what the function returned there, or why it did not."""

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


def refuse_unseen(landmarks: Landmarks) -> None:
    """Ask every machine whether it sees run and model.

    Raises:
        InputError: one does not; it is named, and what it does not see.
    """
    for answer in ask_every_machine(landmarks.unseen):
        if answer.error or answer.value:
            raise InputError(answer.error or answer.value)


@ray.remote(num_cpus=0, max_retries=0)
def _call(function: Callable[[], T]) -> T:
    return function()
