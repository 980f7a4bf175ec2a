"""Reading the next parts of something while one is used."""

import queue
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")
AHEAD = 3
"""How many parts are read at once, the one that is used included."""
ITEMS = 2
"""How many items of a part wait at most."""
LONGEST_WAIT = 2.0
"""Seconds."""
PATIENCE = 0.2
"""Seconds after which a thread looks whether anybody still wants what it has read."""


def read_ahead(parts: Iterable[Iterable[T]]) -> Iterator[T]:
    """Yield the items of all parts in their order; those of the next parts are made by threads meanwhile.

    What making them raises, is raised where they would be.
    """
    waiting: deque[_Reader[T]] = deque()
    rest = iter(parts)
    try:
        while True:
            while len(waiting) < AHEAD and (part := next(rest, None)) is not None:
                waiting.append(_Reader(part))
            if not waiting:
                return
            yield from waiting[0].items()
            waiting.popleft()
    finally:
        for reader in waiting:
            reader.is_unwanted.set()
        for reader in waiting:
            reader.end()


class _Reader(Generic[T]):
    """A thread that makes the items of one part. It does not keep the process from ending."""

    def __init__(self, part: Iterable[T]) -> None:
        self._part = part
        self._made: queue.Queue[tuple[T] | BaseException | None] = queue.Queue(ITEMS)
        self.is_unwanted = threading.Event()
        self._thread = threading.Thread(target=self._make, name="read ahead", daemon=True)
        self._thread.start()

    def items(self) -> Iterator[T]:
        while (made := self._made.get()) is not None:
            if isinstance(made, BaseException):
                raise made
            yield made[0]

    def end(self) -> None:
        """Wait for the thread once nothing is wanted of it any more, but not for a store that does not answer."""
        self._thread.join(LONGEST_WAIT)

    def _make(self) -> None:
        end: BaseException | None = None
        try:
            for item in self._part:
                if not self._put((item,)):
                    return
        except BaseException as error:
            end = error
        self._put(end)

    def _put(self, made: tuple[T] | BaseException | None) -> bool:
        """Wait until there is room; False if nobody wants it any more."""
        while not self.is_unwanted.is_set():
            try:
                self._made.put(made, timeout=PATIENCE)
            except queue.Full:
                continue
            return True
        return False
