"""Which shards wait for an actor, and how many failed attempts each is charged with. Imports no Ray."""

from collections import Counter, deque
from collections.abc import Collection, Sequence

from skilljobs.errors import JobFailed

MOST_ATTEMPTS = 3
MOST_MACHINES_LOST = 10
"""Machines lost with the same shard in hand, after which the shard is taken to be the cause."""


class Ledger:
    """`waiting` items are given out first; `suspects`, which may have killed an actor, last and one to an actor.

    An item may be in the hands of two actors. What becomes of it at one of them is told with those that others have
    (`elsewhere`): these are not put in line again. Once it is done, nothing that becomes of it counts.
    """

    def __init__(self, items: Sequence[int], noun: str = "shard") -> None:
        """`noun`: what an item is, for messages."""
        self._noun = noun
        self.waiting, self.suspects = deque(items), deque[int]()
        self.suspected: set[int] = set()
        self._done: set[int] = set()
        self._count = len(items)
        self._attempts, self._losses = Counter[int](), Counter[int]()

    @property
    def left(self) -> int:
        """How many items are not done."""
        return self._count - len(self._done)

    def is_done(self, item: int) -> bool:
        """Whether an item has a result."""
        return item in self._done

    def finished(self, item: int) -> bool:
        """Note the result of an item; False if it had one already."""
        is_first = item not in self._done
        self._done.add(item)
        for line in (self.waiting, self.suspects):
            if item in line:
                line.remove(item)
        return is_first

    def failed(self, item: int, reason: str, elsewhere: Collection[int] = ()) -> None:
        """Charge an item with an attempt; it is tried again with the suspects.

        Raises:
            JobFailed: it was its last attempt.
        """
        if item in self._done:
            return
        self._attempts[item] += 1
        if self._attempts[item] == MOST_ATTEMPTS:
            raise JobFailed(f"{self._noun} {item} failed {MOST_ATTEMPTS} times, the last time: {reason}")
        self._suspect(item, elsewhere)

    def actor_died(self, in_hand: Sequence[int], reason: str, elsewhere: Collection[int] = ()) -> None:
        """Charge the first of the items that a dead actor had; the others become suspects too.

        Raises:
            JobFailed: as `failed`.
        """
        self.failed(in_hand[0], reason, elsewhere)
        for item in in_hand[1:]:
            self._suspect(item, elsewhere)

    def machine_went(self, in_hand: Sequence[int], reason: str, elsewhere: Collection[int] = ()) -> None:
        """An actor went with its machine: put the items that it had first in line again.

        Raises:
            JobFailed: that has happened too often to the first of them.
        """
        first = in_hand[0]
        self._losses[first] += 1
        if self._losses[first] == MOST_MACHINES_LOST:
            raise JobFailed(
                f"{MOST_MACHINES_LOST} machines went with {self._noun} {first} in hand, the last time: {reason}"
            )
        for item in reversed(in_hand):
            if item not in self._done and item not in elsewhere:
                (self.suspects if item in self.suspected else self.waiting).appendleft(item)

    def _suspect(self, item: int, elsewhere: Collection[int]) -> None:
        if item in self._done:
            return
        self.suspected.add(item)
        if item not in elsewhere:
            self.suspects.append(item)
