"""The examples of a job in their final order: those to tune on, then shard by shard."""

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property, lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from skilljobs.hashing import digest_of_many
from skilljobs.plan.example_views import ExampleView
from skilljobs.plan.shapes import Shapes
from skilljobs.store.spill import Spill
from skilljobs.tasks.base import Example, half_of
from skilljobs.tasks.chunk_digests import digest_text
from skilljobs.tasks.example_chunks import Chunk
from skilljobs.tasks.external_columns import ExternalColumn

BUCKET_BYTES = 32 << 20
"""What a bucket should have at most, compressed."""
BUCKET_ROWS = 65_536
MOST_BUCKETS = 1024
CHUNK_ROWS = 8192


class Partition:
    """Examples that were distributed over buckets by their place in the order, so that one bucket is held at a time.

    Within a bucket they are put in order when it is read.
    """

    def __init__(
        self, chunks: Iterable[tuple[Chunk, NDArray[np.int32]]], size: int, width: int, shapes: Shapes
    ) -> None:
        """Distribute `chunks`, each with the places of its examples in the order (-1: not in it).

        Args:
            size: how many examples the order has.
            width: bytes of an example on average, compressed.
            shapes: of the examples in the order.
        """
        self._shapes = shapes
        self._rows = max(1, min(BUCKET_ROWS, BUCKET_BYTES // max(1, width)), -(-size // MOST_BUCKETS))
        self._spill = Spill()
        self._buckets: list[list[int]] = [[] for _ in range(-(-size // self._rows))]
        self._places: list[list[NDArray[np.int32]]] = [[] for _ in self._buckets]
        self._digests: dict[tuple[int, ...], str] = {}
        self._bucket = lru_cache(maxsize=1)(self._read_bucket)
        for chunk, places in chunks:
            self._distribute(chunk, places)

    @classmethod
    def of(cls, groups: Iterable[Sequence[Example]]) -> "Partition":
        """Examples that are held, in the order of the groups."""
        examples = [example for group in groups for example in group]
        shapes = Shapes()
        chunks = []
        for start in range(0, len(examples), CHUNK_ROWS):
            part = examples[start : start + CHUNK_ROWS]
            places = np.arange(start, start + len(part), dtype=np.int32)
            chunks.append((Chunk.of(part, places.tolist()), places))
            shapes.add(chunks[-1][0])
        return cls(chunks, len(examples), 1, shapes)

    def _distribute(self, chunk: Chunk, places: NDArray[np.int32]) -> None:
        buckets = np.where(places < 0, -1, places // self._rows)
        order = np.argsort(buckets, kind="stable")
        present, starts = np.unique(buckets[order], return_index=True)
        ends = np.r_[starts[1:], len(order)]
        sorted_chunk = chunk.take(order)
        for bucket, start, end in zip(present.tolist(), starts.tolist(), ends.tolist(), strict=True):
            if bucket >= 0:
                self._buckets[bucket].append(self._spill.add(sorted_chunk.slice(start, end).table))
                self._places[bucket].append(places[order[start:end]])

    def _read_bucket(self, bucket: int) -> Chunk:
        order = np.argsort(np.concatenate(self._places[bucket]))
        tables = self._spill.joined(self._buckets[bucket])
        if len(tables) == 1:
            return Chunk(tables[0]).take(order)
        examples = [example for table in tables for example in Chunk(table).examples]
        numbers = [number for table in tables for number in Chunk(table).numbers]
        return Chunk.of([examples[place] for place in order], [numbers[place] for place in order])

    def blocks(self, start: int, stop: int) -> Iterator[Chunk]:
        """The examples from place `start` to before `stop`, chunk by chunk."""
        for bucket in range(start // self._rows, -(-stop // self._rows) if stop > start else 0):
            first = bucket * self._rows
            chunk = self._bucket(bucket)
            yield chunk.slice(max(0, start - first), min(len(chunk), stop - first))

    def view(self, start: int, stop: int) -> "PartView":
        """The examples from place `start` to before `stop`."""
        return PartView(self, start, stop)

    def views(self, sizes: Sequence[int]) -> list["PartView"]:
        """The examples from the first one on, in parts of these sizes."""
        bounds = np.cumsum([0, *sizes]).tolist()
        return [self.view(start, stop) for start, stop in pairwise(bounds)]

    def joined(self, parts: Sequence["PartView"]) -> "PartView":
        """The examples of parts that follow each other."""
        return self.view(parts[0].start, parts[-1].stop)

    def columns(self, start: int, stop: int) -> list[ExternalColumn]:
        """Their external columns, in the order of their first appearance."""
        return self._shapes.columns(np.arange(start, stop))

    def digest(self, sizes: Sequence[int]) -> str:
        """A digest that changes with any of the first examples, in groups of these sizes, and with its place."""
        key = tuple(sizes)
        if key not in self._digests:
            texts = (digest_text(chunk) for chunk in self.blocks(0, sum(sizes)))
            self._digests[key] = digest_of_many(_with_first(list(sizes), texts), size=16).hex()
        return self._digests[key]


class PartView(ExampleView):
    """A range of the examples of a partition: those to tune on, or a shard."""

    def __init__(self, partition: Partition, start: int, stop: int) -> None:
        self._partition, self.start, self.stop = partition, start, stop

    def __len__(self) -> int:
        return self.stop - self.start

    def blocks(self) -> Iterator[Chunk]:
        return self._partition.blocks(self.start, self.stop)

    def external_columns(self) -> list[ExternalColumn]:
        return self._partition.columns(self.start, self.stop)

    @cached_property
    def half(self) -> int:
        """The half of the first example, which is that of all if this is a shard."""
        return half_of(self[0].unit)


def _with_first(first: object, rest: Iterable[str]) -> Iterator[object]:
    yield first
    yield from rest
