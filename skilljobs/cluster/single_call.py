"""Running one method on one scorer of a group, and again on another one if that dies or hangs."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import ray
from ray import ObjectRefGenerator
from ray.actor import ActorHandle
from ray.exceptions import RayTaskError

from skilljobs.cluster.deadlines import Deadline
from skilljobs.cluster.ledger import MOST_ATTEMPTS, MOST_MACHINES_LOST
from skilljobs.cluster.member import Member
from skilljobs.cluster.pulse import ScorerHungError
from skilljobs.cluster.ranked_scorer import death_in, lost_rank
from skilljobs.cluster.ray_errors import DEATHS, one_line, own_error
from skilljobs.cluster.scorer_group import LOOK_SECONDS, ScorerGroup
from skilljobs.cluster.waiting import wait
from skilljobs.errors import JobFailed


def run_on_one(
    group: ScorerGroup, call: Callable[[ActorHandle], Any], on_item: Callable[[Any], None], timeout: float | None
) -> None:
    """Give `on_item` what `call` yields on one actor; `timeout` is as for a shard, but between two items.

    Raises:
        JobFailed: too many actors died in it, or it failed.
        InputError: the actor itself refused its input.
    """
    attempts = losses = 0
    while True:
        member = group.first_loaded()
        try:
            for item in _items(member, call(member.actor), Deadline(timeout)):
                on_item(item)
        except (*DEATHS, RayTaskError) as error:
            death = death_in(error)
            if death is None:
                raise own_error(error) from error
            machine_went = group.went_with_machine(member, death)
            losses += machine_went
            attempts += not machine_went
            group.replace(member, death, machine_went)
            if attempts == MOST_ATTEMPTS or losses == MOST_MACHINES_LOST:
                raise JobFailed(f"{attempts + losses} scorers died in it, the last one: {one_line(death)}") from error
        else:
            return


def _items(member: Member, results: ObjectRefGenerator | list[ray.ObjectRef], deadline: Deadline) -> Iterator[Any]:
    """The items of a generator method, or of a list of calls.

    Raises:
        ScorerHungError: the next one is overdue, and the actor does not answer.
    """
    if isinstance(results, list):
        for reference in results:
            _wait(member, reference, deadline)
            yield ray.get(reference)
        return
    while True:
        _wait(member, results, deadline)
        try:
            reference = next(results)
        except StopIteration:
            return
        yield ray.get(reference)


def _wait(member: Member, awaited: ray.ObjectRef | ObjectRefGenerator, deadline: Deadline) -> None:
    begun = time.monotonic()
    while not wait([awaited], LOOK_SECONDS):
        if death := lost_rank(member.actor):
            raise death
        seconds = time.monotonic() - begun
        if seconds > deadline.seconds and member.pulse.is_lost():
            raise ScorerHungError(f"has not answered for {seconds:.0f} s")
    deadline.took(time.monotonic() - begun)
