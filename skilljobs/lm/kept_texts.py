"""Keeping the texts of batches that come again, since they do not depend on the prompt.

What is kept is what would be read anew, to the last bit: whether it is kept changes the time alone.
"""

from collections.abc import Callable, Hashable
from contextlib import suppress
from typing import ParamSpec, TypeVar

import torch

from skilljobs.lm.cached_texts import CachedTexts
from skilljobs.lm.memory import free_memory, is_out_of_memory
from skilljobs.lm.model import FrozenLM
from skilljobs.machine import available_cpus

SHARE_OF_MEMORY = 0.15
"""Of the free memory, shared by as many scorers as there are processors for."""
P = ParamSpec("P")
T = TypeVar("T")


def scorers_beside(lm: FrozenLM) -> int:
    """How many scorers may share the memory of a device. On a CPU, as many as there are processors for."""
    return 1 if lm.device.type == "cuda" else max(1, available_cpus() // torch.get_num_threads())


class KeptTexts:
    """The texts of batches, each by a name, as long as they fit into `room` bytes."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._kept: dict[Hashable, CachedTexts] = {}

    @classmethod
    def of(cls, lm: FrozenLM) -> "KeptTexts":
        """A share of the free memory, for all soft prompts that a scorer tunes; none where texts cannot be kept."""
        if lm.is_masked or lm.ranks.are_several:
            return cls(0)
        return cls(int(SHARE_OF_MEMORY * free_memory(lm.device)) // scorers_beside(lm))

    @property
    def has_room(self) -> bool:
        """Whether anything more may be kept."""
        return self._room > 0

    def __contains__(self, batch: Hashable) -> bool:
        return batch in self._kept

    def take(self, batch: Hashable) -> CachedTexts | None:
        """The texts of a batch, to be read behind once; None if they are not kept."""
        kept = self._kept.get(batch)
        return None if kept is None else kept.again()

    def keep(self, batch: Hashable, texts: CachedTexts) -> None:
        """Keep the texts of a batch, of which nothing has been read behind yet, if there is room for them."""
        if not self.has_room or batch in self._kept or not texts.can_be_read_again:
            return
        self._room -= texts.size
        if self.has_room:
            self._kept[batch] = texts.again()

    def taken_or_read(self, batch: Hashable, read: Callable[[], CachedTexts]) -> CachedTexts | None:
        """The texts of a batch, to be read behind once: kept, or read and then kept; None if there is no room for them.

        They are None, too, if memory does not suffice, which is dealt with where they are read again.
        """
        texts = self.take(batch)
        if texts is None and self.has_room:
            with suppress(RuntimeError):
                texts = read()
                self.keep(batch, texts)
        return texts

    def giving_way(self, run: Callable[P, T]) -> Callable[P, T]:
        """`run`, called again with nothing kept if memory does not suffice: nothing is split for what is kept."""

        def run_with_room(*args: P.args, **kwargs: P.kwargs) -> T:
            try:
                return run(*args, **kwargs)
            except RuntimeError as error:
                if not is_out_of_memory(error) or not self._kept:
                    raise
            self._kept.clear()
            self._room = 0
            return run(*args, **kwargs)

        return run_with_room
