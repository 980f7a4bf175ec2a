"""Which shards wait for an actor, and how many failed attempts each is charged with. Imports no Ray."""

from collections import Counter, deque
from collections.abc import Sequence

from skilljobs.errors import JobFailed

MOST_ATTEMPTS = 3
MOST_MACHINES_LOST = 10
"""Machines lost with the same shard in hand, after which the shard is taken to be the cause."""


class Ledger:
    """`waiting` items are given out first; `suspects`, which may have killed an actor, last and one to an actor."""

    def __init__(self, items: Sequence[int]) -> None:
        self.waiting, self.suspects = deque(items), deque[int]()
        self.suspected: set[int] = set()
        self.left = len(items)
        self._attempts, self._losses = Counter[int](), Counter[int]()

    def failed(self, item: int, reason: str) -> None:
        """Charge an item with an attempt; it is tried again with the suspects.

        Raises:
            JobFailed: it was its last attempt.
        """
        self._attempts[item] += 1
        if self._attempts[item] == MOST_ATTEMPTS:
            raise JobFailed(f"shard {item} failed {MOST_ATTEMPTS} times, the last time: {reason}")
        self._suspect(item)

    def actor_died(self, in_hand: Sequence[int], reason: str) -> None:
        """Charge the first of the items that a dead actor had; the others become suspects too.

        Raises:
            JobFailed: as `failed`.
        """
        self.failed(in_hand[0], reason)
        for item in in_hand[1:]:
            self._suspect(item)

    def machine_went(self, in_hand: Sequence[int], reason: str) -> None:
        """An actor went with its machine: put the items that it had first in line again.

        Raises:
            JobFailed: that has happened too often to the first of them.
        """
        first = in_hand[0]
        self._losses[first] += 1
        if self._losses[first] == MOST_MACHINES_LOST:
            raise JobFailed(f"{MOST_MACHINES_LOST} machines went with shard {first} in hand, the last time: {reason}")
        for item in reversed(in_hand):
            (self.suspects if item in self.suspected else self.waiting).appendleft(item)

    def _suspect(self, item: int) -> None:
        self.suspected.add(item)
        self.suspects.append(item)
