"""Examples that look like a list and are read chunk by chunk when they are asked for."""

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import overload

from skilljobs.tasks.base import Example
from skilljobs.tasks.example_chunks import Chunk
from skilljobs.tasks.external_columns import ExternalColumn


class ExampleView(Sequence[Example]):
    """Examples in an order, of which no more than a chunk is held at a time."""

    @abstractmethod
    def blocks(self) -> Iterator[Chunk]:
        """The examples chunk by chunk."""

    @abstractmethod
    def external_columns(self) -> list[ExternalColumn]:
        """Their external columns, in the order of their first appearance."""

    def __iter__(self) -> Iterator[Example]:
        for chunk in self.blocks():
            yield from chunk.examples

    @overload
    def __getitem__(self, place: int) -> Example: ...

    @overload
    def __getitem__(self, place: slice) -> list[Example]: ...

    def __getitem__(self, place: int | slice) -> Example | list[Example]:
        if isinstance(place, slice):
            return list(self)[place]
        wanted = place + len(self) if place < 0 else place
        if wanted >= 0:
            for chunk in self.blocks():
                if wanted < len(chunk):
                    return chunk.slice(wanted, wanted + 1).examples[0]
                wanted -= len(chunk)
        raise IndexError(f"there is no example {place}: there are {len(self)}")


class Chain(ExampleView):
    """The examples of several views, one after another."""

    def __init__(self, views: Iterable[ExampleView]) -> None:
        self._views = list(views)

    def __len__(self) -> int:
        return sum(map(len, self._views))

    def blocks(self) -> Iterator[Chunk]:
        for view in self._views:
            yield from view.blocks()

    def external_columns(self) -> list[ExternalColumn]:
        return list(dict.fromkeys(source for view in self._views for source in view.external_columns()))
