"""One scorer actor of a group, and what it has in hand."""

import time
from collections import deque
from dataclasses import dataclass, field

import ray
from ray.actor import ActorHandle

from skilljobs.cluster.pulse import Pulse


@dataclass(frozen=True)
class Given:
    """An item that an actor was given."""

    item: int
    reference: ray.ObjectRef
    at: float
    """When, by the monotonic clock."""


@dataclass
class Member:
    """One actor and the items it was given, in that order."""

    name: str
    actor: ActorHandle
    loading: ray.ObjectRef
    pulse: Pulse
    loaded: bool = False
    node: str | None = None
    """The machine it is on, once it is loaded."""
    queue: deque[Given] = field(default_factory=deque)
    answered: float = 0.0
    """When it last answered with a result, by the monotonic clock."""

    @property
    def awaited(self) -> list[ray.ObjectRef]:
        """The results to wait for: an actor may finish its items in any order."""
        return [given.reference for given in self.queue] if self.loaded else [self.loading]

    def admit(self) -> None:
        """Note that it has loaded, and may be given items."""
        self.loaded, self.answered = True, time.monotonic()
        self.pulse.note_running()

    def give(self, item: int, reference: ray.ObjectRef) -> None:
        """Note that it was given an item."""
        self.queue.append(Given(item, reference, time.monotonic()))

    def take_back(self, given: Given) -> float:
        """Note that it answered. Returns the seconds that it took since its previous answer, or since it was given."""
        seconds = self.seconds(given)
        self.answered = time.monotonic()
        self.queue.remove(given)
        return seconds

    def seconds(self, given: Given) -> float:
        """How long it has been at an item: those that it was given before are not counted."""
        return time.monotonic() - max(given.at, self.answered)
