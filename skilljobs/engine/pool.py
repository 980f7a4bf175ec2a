"""A pool of scorer actors that survives their deaths.

Rules, each from a failure that was seen: no restarts by Ray, a fresh actor for each death; only the first shard in hand
is charged with a death, but those given with it are suspects too (any of them may have caused it, and a death right
after a shard's end can overtake its result); suspects run last, one to an actor, so that in the end the guilty one is
charged; three attempts a shard and a cap on all deaths; all actors are asked for at once, and late ones join, unless
their machine would give other numbers. A machine that goes takes its actors along, which is nobody's fault: the shards
in hand are not charged, and the actors that take their place wait for machines, which is what calls an autoscaler.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.actor import ActorHandle
from ray.exceptions import ActorUnavailableError, RayActorError, RayTaskError

from skilljobs.engine.cluster.ray_errors import one_line, own_error
from skilljobs.engine.ledger import MOST_ATTEMPTS, MOST_MACHINES_LOST, Ledger
from skilljobs.errors import InputError, JobFailed

QUEUE_DEPTH = 2
MOST_DEATHS_PER_ACTOR = 4
PATIENCE_SECONDS = 60.0
LOOK_SECONDS = 2.0
"""Between looks for machines that came."""


@dataclass
class Member:
    """One actor and the items it was given, in that order."""

    name: str
    actor: ActorHandle
    loading: ray.ObjectRef
    loaded: bool = False
    node: str | None = None
    """Where it is, once it is loaded."""
    queue: deque[tuple[int, ray.ObjectRef]] = field(default_factory=deque)


class ScorerPool:
    """`start(name)` makes an actor; its `load` method is called once and its result kept in `description`.

    What that says under `alike` (name and value) must be as in `alike`, and as the first actor says beyond it; an actor
    that differs, or that says what it does not see under `unseen`, is refused: it gets nothing to do and keeps its
    place, since another would land on the same machine. `room` says how many actors there is room for: more are
    started when it grows.
    """

    def __init__(
        self,
        start: Callable[[str], ActorHandle],
        size: int,
        on_note: Callable[[str], None],
        alike: Mapping[str, str] | None = None,
        room: Callable[[], int] | None = None,
    ) -> None:
        self._alike = dict(alike or {})
        self._start = start
        self._note = on_note
        self._room = room
        self._looked = time.monotonic()
        self._refused: list[Member] = []
        self._started = 0
        self._deaths = 0
        self._most_deaths = MOST_ATTEMPTS + MOST_DEATHS_PER_ACTOR * size
        self.description: dict[str, Any] = {}
        self.retried = 0
        self.members = [self._new_member() for _ in range(size)]

    def _new_member(self) -> Member:
        name = f"scorer-{self._started}"
        self._started += 1
        actor = self._start(name)
        return Member(name, actor, actor.load.remote())

    def close(self) -> None:
        for member in (*self.members, *self._refused):
            ray.kill(member.actor)
        self.members, self._refused = [], []

    def first_loaded(self) -> Member:
        """Wait for any actor to have loaded.

        Raises:
            JobFailed: actors keep dying while they load.
            InputError: what the actor itself refused.
        """
        while True:
            for member in self.members:
                if member.loaded:
                    return member
            ready, _ = ray.wait([member.loading for member in self.members], num_returns=1, timeout=PATIENCE_SECONDS)
            if ready:
                self._take_loaded(next(member for member in self.members if member.loading == ready[0]))
            else:
                self._note("no scorer is ready yet: the model is being loaded, or no machine has room for a scorer")

    def run_on_one(self, call: Callable[[ActorHandle], Any], on_item: Callable[[Any], None]) -> None:
        """Run a generator method on one actor, on another if that dies; `on_item` gets what it yields."""
        attempts = losses = 0
        while True:
            member = self.first_loaded()
            try:
                for reference in call(member.actor):
                    on_item(ray.get(reference))
            except RayActorError as error:
                if self._bury(member, error):
                    losses += 1
                else:
                    attempts += 1
                if attempts == MOST_ATTEMPTS or losses == MOST_MACHINES_LOST:
                    raise JobFailed(f"{attempts + losses} scorers died at it, the last: {one_line(error)}") from error
            except RayTaskError as error:
                raise own_error(error) from error
            else:
                return

    def map(self, items: Sequence[int], call: Callable[[ActorHandle, int], ray.ObjectRef]) -> Iterator[Any]:
        """Results of `call` for every item, as they come. Where it is left before its end, `put_down` is to be called.

        Raises:
            JobFailed: an item failed `MOST_ATTEMPTS` times, or too many actors died.
        """
        ledger = Ledger(items)
        while ledger.left:
            self._dispatch(ledger, call)
            pending = {ref: member for member in self.members for ref in self._awaited(member)}
            ready, _ = ray.wait(list(pending), num_returns=1, timeout=LOOK_SECONDS if self._room else None)
            self._grow(ledger.left)
            if not ready:
                continue
            member = pending[ready[0]]
            if not member.loaded:
                self._take_loaded(member)
                continue
            item, reference = given = next(given for given in member.queue if given[1] == ready[0])
            try:
                result = ray.get(reference)
            except RayActorError as error:
                in_hand = [item for item, _ in member.queue]
                told = ledger.machine_went if self._bury(member, error) else ledger.actor_died
                self.retried += 1
                told(in_hand, one_line(error))
            except RayTaskError as error:
                member.queue.remove(given)
                if isinstance(own_error(error), InputError):
                    raise own_error(error) from error
                self.retried += 1
                ledger.failed(item, one_line(error))
            else:
                member.queue.remove(given)
                ledger.left -= 1
                yield result

    def put_down(self) -> None:
        """Wait for what the actors have in hand, and forget it: for a `map` that is left before its end."""
        in_hand = [reference for member in self.members for _, reference in member.queue]
        if in_hand:
            ray.wait(in_hand, num_returns=len(in_hand))
        for member in self.members:
            member.queue.clear()

    def _awaited(self, member: Member) -> list[ray.ObjectRef]:
        """What to wait for: an actor may end its items in any order."""
        return [reference for _, reference in member.queue] if member.loaded else [member.loading]

    def _dispatch(self, ledger: Ledger, call: Callable[[ActorHandle, int], ray.ObjectRef]) -> None:
        """Give every idle actor an item, then a second one in advance while there are enough for all."""
        loaded = [member for member in self.members if member.loaded]
        for depth in range(QUEUE_DEPTH):
            for member in loaded:
                enough = len(ledger.waiting) >= (len(loaded) if depth else 1)
                if enough and len(member.queue) == depth:
                    item = ledger.waiting.popleft()
                    member.queue.append((item, call(member.actor, item)))
        in_hand = {item for member in self.members for item, _ in member.queue}
        if ledger.waiting or in_hand - ledger.suspected:
            return
        for member in self.members:
            if member.loaded and ledger.suspects and not member.queue:
                item = ledger.suspects.popleft()
                member.queue.append((item, call(member.actor, item)))

    def _take_loaded(self, member: Member) -> None:
        try:
            description = ray.get(member.loading)
            if not self._is_alike(member, description):
                return
            self.description = description
            member.loaded, member.node = True, description.get("node")
        except RayActorError as error:
            self._bury(member, error)
        except RayTaskError as error:
            raise own_error(error) from error

    def _grow(self, left: int) -> None:
        """Start more actors where machines came, as long as there are items for them."""
        if self._room is None or time.monotonic() - self._looked < LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        refused = sum(_is_there(member.node) for member in self._refused)
        more = min(self._room() - refused, left) - len(self.members)
        for _ in range(more):
            self.members.append(self._new_member())
            self._note(f"{self.members[-1].name} is added: there is room for it now")

    def _is_alike(self, member: Member, description: dict[str, Any]) -> bool:
        """Whether the actor's machine sees what it must and gives the numbers of the others; if not it is let go."""
        shown = description.get("unseen")
        if not shown:
            found: dict[str, str] = description.get("alike", {})
            different = [name for name in found if self._alike.get(name, found[name]) != found[name]]
            if not different:
                self._alike |= found
                return True
            shown = ", ".join(f"{name} {found[name]} there, {self._alike[name]} here" for name in different)
        reason = f"{member.name} on {description.get('host')} is refused: {shown}"
        self._note(reason)
        self.members.remove(member)
        member.node = description.get("node")
        self._refused.append(member)  # alive, so that no other is put in its place
        if not self.members:
            raise JobFailed(f"no scorer is left: {reason}")
        return False

    def _bury(self, member: Member, error: RayActorError) -> bool:
        """Replace a dead or unreachable actor. Returns whether its machine went."""
        unreachable = isinstance(error, ActorUnavailableError)
        if unreachable:
            ray.kill(member.actor)
        machine_went = member.loaded and (unreachable or not _is_there(member.node))
        self._deaths += not machine_went
        if self._deaths > self._most_deaths or (not self.description and self._deaths == MOST_ATTEMPTS):
            raise JobFailed(f"{self._deaths} scorers died, the last: {one_line(error)}")
        self.members.remove(member)
        self.members.append(self._new_member())
        what = "went with its machine" if machine_went else f"died ({one_line(error)})"
        self._note(f"{member.name} {what}; {self.members[-1].name} takes its place")
        return machine_went


def _is_there(node: str | None) -> bool:
    return node is None or any(found["NodeID"] == node and found["Alive"] for found in ray.nodes())
