"""Giving items (shards) to a group of scorers, whose deaths cost no result.

Rules, each from a failure that was seen: only the first item in hand is charged with a death, but those that were given
with it are suspects too (any of them may have caused it, and a death right after an item's end can overtake its
result); suspects run last, one to an actor, so that the guilty one is charged in the end; an item has three attempts.
When a machine goes, the items in hand there are not charged. Late machines join, as long as there are items for them.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import ray
from ray.actor import ActorHandle
from ray.exceptions import RayActorError, RayTaskError

from skilljobs.cluster.ledger import MOST_ATTEMPTS, MOST_MACHINES_LOST, Ledger
from skilljobs.cluster.ray_errors import one_line, own_error
from skilljobs.cluster.scorer_group import Member, ScorerGroup
from skilljobs.errors import InputError, JobFailed

QUEUE_DEPTH = 2
LOOK_SECONDS = 2.0
"""Time between two looks for machines that were added."""


class ScorerPool:
    """Runs calls on the actors of `group`. `room` says how many actors fit: more are started when it grows."""

    def __init__(
        self, group: ScorerGroup, on_note: Callable[[str], None], room: Callable[[], int] | None = None
    ) -> None:
        self.group = group
        self._note = on_note
        self._room = room
        self._looked = time.monotonic()
        self.retried = 0

    def run_on_one(self, call: Callable[[ActorHandle], Any], on_item: Callable[[Any], None]) -> None:
        """Run a generator method on one actor, and again on another if that one dies; `on_item` gets what it yields.

        Raises:
            JobFailed: too many actors died in it, or it failed.
            InputError: the actor itself refused its input.
        """
        attempts = losses = 0
        while True:
            member = self.group.first_loaded()
            try:
                for reference in call(member.actor):
                    on_item(ray.get(reference))
            except RayActorError as error:
                machine_went = self.group.went_with_machine(member, error)
                losses += machine_went
                attempts += not machine_went
                self.group.replace(member, error, machine_went)
                if attempts == MOST_ATTEMPTS or losses == MOST_MACHINES_LOST:
                    raise JobFailed(
                        f"{attempts + losses} scorers died in it, the last one: {one_line(error)}"
                    ) from error
            except RayTaskError as error:
                raise own_error(error) from error
            else:
                return

    def map(self, items: Sequence[int], call: Callable[[ActorHandle, int], ray.ObjectRef]) -> Iterator[Any]:
        """Results of `call` for every item, as they come. A caller that leaves early must call `finish_in_hand`.

        Raises:
            JobFailed: an item failed `MOST_ATTEMPTS` times, or too many actors died.
            InputError: an actor itself refused its input.
        """
        ledger = Ledger(items)
        while ledger.left:
            self._dispatch(ledger, call)
            pending = {reference: member for member in self.group.members for reference in member.awaited}
            ready, _ = ray.wait(list(pending), num_returns=1, timeout=LOOK_SECONDS if self._room else None)
            self._grow(ledger.left)
            if not ready:
                continue
            member = pending[ready[0]]
            if not member.loaded:
                self.group.take_loaded(member)
                continue
            given = next(given for given in member.queue if given[1] == ready[0])
            try:
                result = ray.get(ready[0])
            except RayActorError as error:
                self._lose(ledger, member, error)
            except RayTaskError as error:
                member.queue.remove(given)
                if isinstance(own_error(error), InputError):
                    raise own_error(error) from error
                self.retried += 1
                ledger.failed(given[0], one_line(error))
            else:
                member.queue.remove(given)
                ledger.left -= 1
                yield result

    def finish_in_hand(self) -> None:
        """Wait for the items that the actors have in hand, and forget them."""
        in_hand = [reference for member in self.group.members for _, reference in member.queue]
        if in_hand:
            ray.wait(in_hand, num_returns=len(in_hand))
        for member in self.group.members:
            member.queue.clear()

    def _lose(self, ledger: Ledger, member: Member, error: RayActorError) -> None:
        """Replace a lost actor and account for the items that it had in hand."""
        in_hand = [item for item, _ in member.queue]
        machine_went = self.group.went_with_machine(member, error)
        self.group.replace(member, error, machine_went)
        self.retried += 1
        account = ledger.machine_went if machine_went else ledger.actor_died
        account(in_hand, one_line(error))

    def _dispatch(self, ledger: Ledger, call: Callable[[ActorHandle, int], ray.ObjectRef]) -> None:
        """Give every idle actor an item, then a second one in advance while there are enough for all."""
        members = self.group.members
        loaded = [member for member in members if member.loaded]
        for depth in range(QUEUE_DEPTH):
            for member in loaded:
                enough = len(ledger.waiting) >= (len(loaded) if depth else 1)
                if enough and len(member.queue) == depth:
                    item = ledger.waiting.popleft()
                    member.queue.append((item, call(member.actor, item)))
        in_hand = {item for member in members for item, _ in member.queue}
        if ledger.waiting or in_hand - ledger.suspected:
            return
        for member in members:
            if member.loaded and ledger.suspects and not member.queue:
                item = ledger.suspects.popleft()
                member.queue.append((item, call(member.actor, item)))

    def _grow(self, left: int) -> None:
        """Start more actors if machines were added, as long as there are items for them."""
        if self._room is None or time.monotonic() - self._looked < LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        more = min(self._room() - self.group.refused_count, left) - len(self.group.members)
        for _ in range(more):
            self._note(f"{self.group.add().name} is added: there is room for it now")
