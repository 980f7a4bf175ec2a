"""Giving items (shards) to a group of scorers, whose deaths cost no result.

Rules, each from a failure that was seen: only the first item in hand is charged with a death, but those that were given
with it are suspects too (any of them may have caused it, and a death right after an item's end can overtake its
result); suspects run last, one to an actor, so that the guilty one is charged in the end; an item has three attempts.
When a machine goes, the items in hand there are not charged. Late machines join, as long as there are items for them.
An item that is overdue is given to an idle actor too, and its first result counts; so is, when nothing else is left to
do, one that takes much longer than the others took. The actor that has an overdue item is asked whether it is there,
and one that does not answer has died.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import ray
from ray.actor import ActorHandle
from ray.exceptions import RayTaskError

from skilljobs.cluster.deadlines import Deadline, Overdue
from skilljobs.cluster.ledger import Ledger
from skilljobs.cluster.member import Member
from skilljobs.cluster.pulse import ScorerHungError
from skilljobs.cluster.ranked_scorer import death_in, lost_rank
from skilljobs.cluster.ray_errors import DEATHS, one_line, own_error
from skilljobs.cluster.scorer_group import LOOK_SECONDS, ScorerGroup
from skilljobs.cluster.single_call import run_on_one
from skilljobs.cluster.waiting import wait
from skilljobs.errors import InputError

QUEUE_DEPTH = 2
LOSERS_SECONDS = 10.0
"""How long actors may go on with items that others have finished, once there is nothing else to do."""
Call = Callable[[ActorHandle, int], ray.ObjectRef]


class ScorerPool:
    """Runs calls on the actors of `group`. `room` says how many actors fit: more are started when it grows.

    An item may take `shard_timeout` seconds until it is overdue, or by default many times what others took.
    """

    def __init__(
        self,
        group: ScorerGroup,
        on_note: Callable[[str], None],
        room: Callable[[], int] | None = None,
        shard_timeout: float | None = None,
    ) -> None:
        self.group = group
        self._note = on_note
        self._room = room
        self._shard_timeout = shard_timeout
        self._deadline = Deadline(shard_timeout)
        self._looked = time.monotonic()
        self.overdue = Overdue()
        self.retried = 0
        self.given_twice = 0

    def run_on_one(self, call: Callable[[ActorHandle], Any], on_item: Callable[[Any], None]) -> None:
        """Run a generator method on one actor, and again on another if that one dies; `on_item` gets what it yields.

        Raises:
            JobFailed: too many actors died in it, or it failed.
            InputError: the actor itself refused its input.
        """
        run_on_one(self.group, call, on_item, self._shard_timeout)

    def deadline(self, has_stragglers: bool = True) -> Deadline:
        """What says when a piece of work is overdue, which learns from those that were done."""
        return Deadline(self._shard_timeout, has_stragglers)

    def map(
        self,
        items: Sequence[int],
        call: Call,
        on_overdue: Callable[[], None] = lambda: None,
        noun: str = "shard",
        deadline: Deadline | None = None,
    ) -> Iterator[Any]:
        """Results of `call` for every item, as they come. A caller that leaves early must call `finish_in_hand`.

        Args:
            on_overdue: called when an item was given to another actor too.
            noun: what an item is, for messages.
            deadline: what has been learned from similar items; None if that is nothing.

        Raises:
            JobFailed: an item failed `MOST_ATTEMPTS` times, or too many actors died.
            InputError: an actor itself refused its input.
        """
        ledger, self._deadline, self.overdue = Ledger(items, noun), deadline or self.deadline(), Overdue()
        while ledger.left:
            if time.monotonic() - self._looked > LOOK_SECONDS:
                self._looked = time.monotonic()
                self._grow(ledger.left)
                self._replace_hung(ledger)
            self._dispatch(ledger, call)
            if self._give_again(ledger, call, noun):
                on_overdue()
            pending = {reference: member for member in self.group.members for reference in member.awaited}
            ready = wait(list(pending), LOOK_SECONDS)
            if not ready:
                continue
            member = pending[ready[0]]
            if not member.loaded:
                self.group.take_loaded(member)
                continue
            given = next(given for given in member.queue if given.reference == ready[0])
            try:
                result = ray.get(ready[0])
            except (*DEATHS, RayTaskError) as error:
                if death := death_in(error):
                    self._lose(ledger, member, death)
                    continue
                member.take_back(given)
                if ledger.is_done(given.item):
                    continue
                if isinstance(own_error(error), InputError):
                    raise own_error(error) from error
                self.retried += 1
                self.overdue.pop(given.item, None)
                ledger.failed(given.item, one_line(error), self._in_hand())
            else:
                seconds = member.take_back(given)
                if ledger.finished(given.item):
                    self._deadline.took(seconds)
                    self.overdue.pop(given.item, None)
                    yield result
        self.finish_in_hand(LOSERS_SECONDS)

    def finish_in_hand(self, seconds: float | None = None) -> None:
        """Wait for the items that the actors have in hand, and forget them: nothing of them goes on afterwards.

        An actor that takes longer than `seconds`, by default as long as an item may take, is replaced.
        """
        in_hand = {given.reference: member for member in self.group.members for given in member.queue}
        if in_hand:
            patience = self._deadline.seconds if seconds is None else seconds
            ready = wait(list(in_hand), patience, len(in_hand))
            late = {member.name: member for reference, member in in_hand.items() if reference not in ready}
            for member in late.values():
                self.group.replace(member, ScorerHungError("is at a shard that is no longer needed"), blameless=True)
        self.overdue.clear()
        for member in self.group.members:
            member.queue.clear()

    def _in_hand(self) -> set[int]:
        return {given.item for member in self.group.members for given in member.queue}

    def _lose(self, ledger: Ledger, member: Member, error: Exception) -> None:
        """Replace a lost actor and account for the items that it had in hand."""
        in_hand = [given.item for given in member.queue]
        for item in in_hand:
            self.overdue.pop(item, None)
        machine_went = self.group.went_with_machine(member, error)
        self.group.replace(member, error, machine_went)
        self.retried += 1
        account = ledger.machine_went if machine_went else ledger.actor_died
        account(in_hand, one_line(error), self._in_hand())

    def _replace_hung(self, ledger: Ledger) -> None:
        """Replace the actors that have an overdue item and answer nothing, and those that hang while they load."""
        self.group.replace_hung_loaders()
        for member in list(self.group.members):
            if death := lost_rank(member.actor):
                self._lose(ledger, member, death)
                continue
            seconds = max((member.seconds(given) for given in member.queue), default=0.0)
            if seconds > self._deadline.seconds and member.pulse.is_lost():
                self._lose(ledger, member, ScorerHungError(f"has not answered for {seconds:.0f} s"))

    def _give_again(self, ledger: Ledger, call: Call, noun: str) -> bool:
        """Give overdue items, and in the end stragglers, to idle actors too; whether there were any."""
        idle = [member for member in self.group.members if member.loaded and not member.queue]
        if not idle:
            return False
        overdue, straggling = self._deadline.seconds, self._deadline.straggler_seconds
        late = [
            (given, member)
            for member in self.group.members
            for given in member.queue
            if given.item not in self.overdue
            and not ledger.is_done(given.item)
            # one that may have killed an actor is not let at two
            and member.seconds(given) > (overdue if given.item in ledger.suspected else straggling)
        ]
        late.sort(key=lambda given_by: given_by[0].at)
        for (given, member), other in zip(late, idle, strict=False):
            self.overdue[given.item] = other.name
            self.given_twice += 1
            self._note(
                f"{noun} {given.item} has been with {member.name} for {member.seconds(given):.0f} s"
                f" and is given to {other.name} too"
            )
            other.give(given.item, call(other.actor, given.item))
        return bool(late and idle)

    def _dispatch(self, ledger: Ledger, call: Call) -> None:
        """Give every idle actor an item, then a second one in advance while there are enough for all."""
        loaded = [member for member in self.group.members if member.loaded]
        for depth in range(QUEUE_DEPTH):
            for member in loaded:
                enough = len(ledger.waiting) >= (len(loaded) if depth else 1)
                if enough and len(member.queue) == depth:
                    item = ledger.waiting.popleft()
                    member.give(item, call(member.actor, item))
        if ledger.waiting or any(not ledger.is_done(item) for item in self._in_hand() - ledger.suspected):
            return
        for member in loaded:
            if ledger.suspects and not member.queue:
                item = ledger.suspects.popleft()
                member.give(item, call(member.actor, item))

    def _grow(self, left: int) -> None:
        """Start more actors if machines were added, as long as there are items for them."""
        if self._room is None:
            return
        more = min(self._room() - self.group.refused_count, left) - len(self.group.members)
        for _ in range(more):
            self._note(f"{self.group.add().name} is added: there is room for it now")
