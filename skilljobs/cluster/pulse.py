"""Whether an actor answers anything at all. One that works for long answers `ping`, one that hangs does not."""

import time

import ray
from ray.actor import ActorHandle
from ray.exceptions import RayActorError

ANSWER_SECONDS = 15.0
"""Within which a scorer must answer, whatever it is doing: some calls into libraries let nothing else run meanwhile."""


class ScorerHungError(RayActorError):  # type: ignore[misc]
    """Stands for the death of an actor that must be given up; says in words why."""

    def __init__(self, reason: str) -> None:
        super().__init__(error_msg=reason)


class Pulse:
    """Asks one actor whether it is there."""

    def __init__(self, actor: ActorHandle) -> None:
        self._actor = actor
        self._asked = 0.0
        self._question: ray.ObjectRef | None = None
        self.began: float | None = None
        """When it first answered, by the monotonic clock; None while it waits for a machine."""

    def ask(self) -> None:
        """Ask it, unless a question is open."""
        if self._question is None:
            self._question, self._asked = self._actor.ping.remote(), time.monotonic()

    def note_running(self) -> None:
        """Note that it is known to run, without having been asked."""
        self.began = self.began or time.monotonic()

    def is_lost(self) -> bool:
        """Ask it; whether it has left a question open for `ANSWER_SECONDS`, so that only a later call can say so.

        An actor that has never answered may still wait for a machine, and is not lost.
        """
        self.ask()
        is_silent = self.began is not None and time.monotonic() - self._asked > ANSWER_SECONDS
        # an answer may have come while this process was stopped itself
        answered, _ = ray.wait([self._question], timeout=1.0 if is_silent else 0.0)
        if answered:
            self._question = None
            self.note_running()
        return is_silent and not answered
