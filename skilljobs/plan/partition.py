"""The examples of a job in their final order: those to tune on, then shard by shard."""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import pairwise

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from skilljobs.hashing import digest_of_many
from skilljobs.plan.example_views import ExampleView
from skilljobs.plan.shapes import Shape, Shapes
from skilljobs.spill.buckets import by_bucket
from skilljobs.spill.spilled_tables import SpilledTables
from skilljobs.tasks.base import Example, half_of
from skilljobs.tasks.chunk_digests import digest_text
from skilljobs.tasks.example_chunks import Chunk
from skilljobs.tasks.external_columns import ExternalColumn

BUCKET_BYTES = 32 << 20
"""What a bucket should have at most, compressed."""
BUCKET_ROWS = 65_536
MOST_BUCKETS = 1024
CHUNK_ROWS = 8192
GATHERED_BYTES = 16 << 20
"""Chunks are distributed together up to so many bytes: of many small pieces, each would have a header."""
_PLACE = "place"


class Partition:
    """Examples that were distributed over buckets by their place in the order, so that one bucket is held at a time.

    Within a bucket they are put in order when it is read.
    """

    def __init__(
        self, chunks: Iterable[tuple[Chunk, NDArray[np.int32]]], size: int, width: int, shape: Shape | None
    ) -> None:
        """Distribute `chunks`, each with the places of its examples in the order (-1: not in it).

        Args:
            size: how many examples the order has.
            width: bytes of an example on average, compressed.
            shape: the external columns of every example; None if they differ.
        """
        self._size, self._width, self._shape = size, width, shape
        self._rows = max(1, min(BUCKET_ROWS, BUCKET_BYTES // max(1, width)), -(-size // MOST_BUCKETS))
        self._spill = SpilledTables()
        self._buckets = [array("q") for _ in range(-(-size // self._rows))]
        """The numbers of the tables with examples of each bucket."""
        self._digests: dict[tuple[int, ...], str] = {}
        self._last: tuple[int, Chunk] | None = None
        """The bucket that was read last, with its number."""
        for tables in _gathered(chunks):
            self._distribute(pa.concat_tables(tables).combine_chunks())

    def reordered(self, chunks: Iterable[tuple[Chunk, NDArray[np.int32]]]) -> "Partition":
        """The same examples at other places, which `chunks` give."""
        return Partition(chunks, self._size, self._width, self._shape)

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
        return cls(chunks, len(examples), 1, shapes.only)

    def _distribute(self, table: pa.Table) -> None:
        order, slices = by_bucket(table[_PLACE].to_numpy() // self._rows, len(self._buckets))
        ordered = table.take(order)
        for bucket, start, stop in slices:
            self._buckets[bucket].append(self._spill.add(ordered.slice(start, stop - start)))

    def _bucket(self, bucket: int) -> Chunk:
        last = self._last
        if last is None or last[0] != bucket:
            last = self._last = None  # or two would be held
            last = self._last = bucket, self._read_bucket(bucket)
        return last[1]

    def _read_bucket(self, bucket: int) -> Chunk:
        tables = self._spill.joined(self._buckets[bucket])
        order = np.argsort(np.concatenate([table[_PLACE].to_numpy() for table in tables]))
        chunks = [Chunk(table.drop_columns([_PLACE])) for table in tables]
        if len(chunks) == 1:
            return chunks[0].take(order)
        examples = [example for chunk in chunks for example in chunk.examples]
        numbers = [number for chunk in chunks for number in chunk.numbers]
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
        shapes = [self._shape] if self._shape is not None and stop > start else self._shapes(start, stop)
        return list(dict.fromkeys(source for shape in shapes for source in shape))

    def _shapes(self, start: int, stop: int) -> Iterator[Shape]:
        for chunk in self.blocks(start, stop):
            yield from chunk.shapes

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


def _gathered(chunks: Iterable[tuple[Chunk, NDArray[np.int32]]]) -> Iterator[list[pa.Table]]:
    """The examples that have a place, with it; chunks of the same columns that follow each other together."""
    gathered: list[pa.Table] = []
    size = 0
    for chunk, places in chunks:
        in_order = np.flatnonzero(places >= 0)
        table = (chunk if len(in_order) == len(chunk) else chunk.take(in_order)).table
        table = table.append_column(_PLACE, pa.array(places[in_order]))
        if gathered and (
            size + table.nbytes > GATHERED_BYTES or not table.schema.equals(gathered[0].schema, check_metadata=True)
        ):
            yield gathered
            gathered, size = [], 0
        if len(table):
            gathered.append(table)
            size += table.nbytes
    if gathered:
        yield gathered
