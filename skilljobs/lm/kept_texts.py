"""Keeping the texts of batches that come again, since they do not depend on the prompt.

What is kept is what would be read anew, to the last bit: whether it is kept changes the time alone.
"""

from collections.abc import Callable, Hashable
from contextlib import suppress

from skilljobs.lm.cached_texts import CachedTexts

SHARE_OF_MEMORY = 0.15
"""Of the free memory, shared by as many scorers as there are processors for."""


class KeptTexts:
    """The texts of batches, each by a name, as long as they fit into `room` bytes."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._kept: dict[Hashable, CachedTexts] = {}

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
        if not self.has_room or batch in self._kept:
            return
        self._room -= texts.size
        if self.has_room and texts.can_be_read_again:
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
