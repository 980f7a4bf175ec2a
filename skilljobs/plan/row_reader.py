"""Reads rows into examples, chunk by chunk, and quarantines bad rows together with the reason."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skilljobs.errors import InputError
from skilljobs.plan.example_views import ExampleView
from skilljobs.plan.row_conflicts import ConflictFinder
from skilljobs.plan.row_sets import RowSet
from skilljobs.plan.shapes import Shapes
from skilljobs.spill.spilled_column import SpilledColumn, filled
from skilljobs.spill.spilled_tables import SpilledTables
from skilljobs.suggestions import shortened
from skilljobs.tasks.base import SPLITS, Example, check_example
from skilljobs.tasks.example_chunks import Chunk
from skilljobs.tasks.external_columns import ExternalColumn
from skilljobs.tasks.external_kinds import KindsSeen
from skilljobs.tasks.table_columns import Columnar, chunks_of, refuse_missing_columns

LONGEST_REASON = 300
"""Characters: a value that it repeats may be a whole text."""
CHUNK_ROWS, CHUNK_CHARACTERS = 8192, 16 << 20
"""At most so many rows, made one by one, become a chunk."""
Make = Callable[[Mapping[str, Any], int], Example]


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that could not be turned into an example. `source` is its file, or the task that generated it."""

    source: str
    number: int
    reason: str


class RowReader:
    """Reads the rows of several sources; across all of them, ids must be unique and a unit must be in one split.

    The examples are kept in a temporary file, and so are hashes and a few numbers of each.
    """

    def __init__(self) -> None:
        self.bad: list[BadRow] = []
        self.columns: dict[str, None] = {}
        """The columns of the tested rows, in the order of their first appearance."""
        self.kept = SpilledColumn(np.bool_)
        """Which of the examples that were read are used."""
        self.kinds = KindsSeen()
        self.shapes = Shapes()
        self._rows: dict[str, int] = {}
        self._sources: list[str] = []
        self._bad: list[tuple[int, BadRow]] = []
        self._spill = SpilledTables()
        self._starts: list[int] = [0]
        self._source_of_chunk: list[int] = []
        self._conflicts = ConflictFinder()

    def read(self, source: str, rows: Iterable[Mapping[str, Any]], make: Make) -> None:
        """Read all rows of one source, each by itself.

        Raises:
            InputError: it has none.
        """
        self._read(source, self._made(source, enumerate(rows, start=1), make))

    def read_columns(self, source: str, table: Columnar, make: Make) -> None:
        """Read all rows of one source, batch by batch, and by `make` those that are not as they should be.

        Raises:
            InputError: it has none.
        """
        self._read(source, self._made_of_columns(source, table, make))

    def _read(self, source: str, chunks: Iterator[Chunk]) -> None:
        self._sources.append(source)
        self._rows[source] = 0
        for chunk in chunks:
            self._conflicts.add(chunk)
            self._source_of_chunk.append(len(self._sources) - 1)
            self._keep(chunk)
        if self._rows[source] == 0:
            raise InputError(f"{source} has no rows")

    def _keep(self, chunk: Chunk) -> None:
        self._spill.add(chunk.table)
        self.shapes.add(chunk)
        self.kinds.add(chunk.kinds())
        self._starts.append(self._starts[-1] + len(chunk))

    def _made_of_columns(self, source: str, table: Columnar, make: Make) -> Iterator[Chunk]:
        for batch in table.batches:
            if len(self._sources) == 1:
                self.columns.update(dict.fromkeys(batch.schema.names))
            first = self._rows[source] + 1
            if first == 1:
                refuse_missing_columns(table, batch.schema.names)
            for part in chunks_of(table, batch, first):
                if isinstance(part, Chunk):
                    self._rows[source] += len(part)
                    yield part
                else:
                    yield from self._made(source, enumerate(part, start=self._rows[source] + 1), make)

    def _made(self, source: str, rows: Iterable[tuple[int, Mapping[str, Any]]], make: Make) -> Iterator[Chunk]:
        examples: list[Example] = []
        numbers: list[int] = []
        characters = 0
        for number, row in rows:
            self._rows[source] = number
            if len(self._sources) == 1:
                self.columns.update(dict.fromkeys(row))
            try:
                examples.append(check_example(make(row, number)))
                numbers.append(number)
                characters += len(examples[-1].text)
            except KeyError as error:
                reason = f"it has no column {error}; it has {shortened(list(map(str, row)))}"
                self._note(number, reason)
            except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError) as error:
                self._note(number, str(error))
            if len(examples) >= CHUNK_ROWS or characters >= CHUNK_CHARACTERS:
                yield Chunk.of(examples, numbers)
                examples, numbers, characters = [], [], 0
        if examples:
            yield Chunk.of(examples, numbers)

    def _note(self, number: int, reason: str) -> None:
        self._bad.append((len(self._sources) - 1, BadRow(self._sources[-1], number, _cut(reason))))

    def settle(self) -> None:
        """Set aside the rows whose id is that of an earlier one, or whose unit is in another split."""
        self.kept = filled(self._starts[-1], np.True_, np.bool_)
        rows: list[int] = []
        for row, number, source, reason in self._conflicts.conflicts(self.located_chunks):
            rows.append(row)
            self._bad.append((source, BadRow(self._sources[source], number, _cut(reason))))
        for start, places in RowSet.of(np.array(rows, np.int64)).located():
            self.drop(start, places)
        self._bad.sort(key=lambda bad: (bad[0], bad[1].number))
        self.bad = [row for _, row in self._bad]

    def located_chunks(self, rows: RowSet | None = None) -> Iterator[tuple[int, int, Chunk]]:
        """All chunks, or those with any of `rows`, behind its source's number and its first row's place."""
        for index, source in enumerate(self._source_of_chunk):
            start, stop = self._starts[index : index + 2]
            if rows is None or len(rows.within(start, stop)):
                yield source, start, Chunk(self._spill.read(index))

    @property
    def examples(self) -> "RowView":
        """The examples that are used, in the order of the rows."""
        kept = self.kept
        return RowView(self, RowSet(lambda start, stop: np.flatnonzero(kept[start:stop]), len(kept)))

    @property
    def example_bytes(self) -> int:
        """Bytes of an example on average, compressed."""
        return self._spill.size // max(1, self._starts[-1])

    def rows_of(self, split: str) -> RowSet:
        """The places of the examples of a split that are used."""
        kept, splits, code = self.kept, self._conflicts.splits, SPLITS.index(split)
        return RowSet(
            lambda start, stop: np.flatnonzero(kept[start:stop] & (splits[start:stop] == code)), self._starts[-1]
        )

    def units_repeat(self, rows: RowSet) -> bool:
        """Whether some of the examples `rows` share a unit."""
        return self._conflicts.units_repeat(rows, self.located_chunks)

    def numbered_chunks(self, rows: RowSet) -> Iterator[tuple[NDArray[np.int64], Chunk]]:
        """The examples `rows`, chunk by chunk, behind the places of their rows."""
        for _, start, chunk in self.located_chunks(rows):
            places = rows.within(start, start + len(chunk))
            yield start + places, chunk if len(places) == len(chunk) else chunk.take(places)

    def ignore_columns(self, columns: Iterable[str]) -> None:
        """Take columns out of the metrics of all examples, those read before a row showed why among them."""
        ignored = {name for name in columns if name in self.shapes}
        if ignored:
            self.rewrite(lambda chunk, kept: chunk.without(ignored))

    def rewrite(self, change: Callable[[Chunk, NDArray[np.bool_]], Chunk]) -> None:
        """Replace each chunk by what `change` makes of it and of which of its examples are used.

        Ids, units and splits stay as they are.
        """
        spill, starts = self._spill, self._starts
        self._spill, self._starts, self.shapes, self.kinds = SpilledTables(), [0], Shapes(), KindsSeen()
        for index, (start, stop) in enumerate(pairwise(starts)):
            self._keep(change(Chunk(spill.read(index)), self.kept[start:stop]))

    def drop(self, start: int, places: NDArray[np.int64]) -> None:
        """Do not use the examples at `places` behind the row `start`."""
        if len(places):
            stop = start + int(places[-1]) + 1
            kept = self.kept[start:stop]
            kept[places] = False
            self.kept[start:stop] = kept

    def quarantine(self, reasons: Mapping[str, str]) -> None:
        """Set examples aside that turned out to be bad. `reasons`: by `example_id`."""
        if not reasons:
            return
        found: dict[str, BadRow] = {}
        for source, start, chunk in self.located_chunks():
            ids, kept = chunk.ids(), self.kept[start : start + len(chunk)]
            places = [place for place, example_id in enumerate(ids) if example_id in reasons and kept[place]]
            numbers = chunk.numbers if places else []
            for place in places:
                found[ids[place]] = BadRow(self._sources[source], numbers[place], _cut(reasons[ids[place]]))
            self.drop(start, np.array(places, np.int64))
        assert len(found) == len(reasons)
        self.bad += [found[example_id] for example_id in reasons]

    def refuse_too_many_bad(self, max_fraction: float) -> None:
        """Refuse a source that has too many bad rows.

        Raises:
            InputError: names the first bad row, why it is bad, and how many there are.
        """
        for source, count in self._rows.items():
            bad = sorted((row for row in self.bad if row.source == source), key=lambda row: row.number)
            if bad and len(bad) > max_fraction * count:
                raise InputError(
                    f"{source}: row {bad[0].number} is bad: {bad[0].reason}"
                    + (f" (and {len(bad) - 1} more of {count} rows)" if len(bad) > 1 else "")
                    + f"; at most a fraction of {max_fraction:.3g} of the rows may be bad (--max-bad-rows)"
                )


class RowView(ExampleView):
    """Some of the examples of a reader, in the order of the rows."""

    def __init__(self, reader: RowReader, rows: RowSet) -> None:
        self._reader, self.rows = reader, rows

    def __len__(self) -> int:
        return len(self.rows)

    def blocks(self) -> Iterator[Chunk]:
        for _, chunk in self._reader.numbered_chunks(self.rows):
            yield chunk

    def external_columns(self) -> list[ExternalColumn]:
        return self._reader.shapes.columns(self.rows)


def _cut(reason: str) -> str:
    return reason if len(reason) <= LONGEST_REASON else f"{reason[: LONGEST_REASON - 60]} ... {reason[-50:]}"
