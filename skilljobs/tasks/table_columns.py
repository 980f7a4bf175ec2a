"""Makes chunks of examples of a table's columns, in place of an example of each row, where they are of usual types.

What it makes is what `Table.example` and `check_example` would: whatever these might refuse or change is left to them.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import compute

from skilljobs.errors import InputError
from skilljobs.suggestions import shortened
from skilljobs.tasks.base import LARGEST_VALUE, SPLITS, TRAIN_FRACTION, VALIDATION_FRACTION, Task
from skilljobs.tasks.example_chunks import SPLIT_CODES, Chunk
from skilljobs.tasks.row_files import rows_of
from skilljobs.tasks.table import LIST, NEVER_METRICS, PARTS, Table, metric_value

PIECE_ROWS = 512
"""Where a row has to be looked at by itself, so are the others of its piece."""


_OWN = ("rows", "example", "metrics_of", "batches")
"""The methods of a table whose work is done here."""


class _UnusualError(Exception):
    """A batch holds something that must be looked at row by row."""


@dataclass(frozen=True)
class Columnar:
    """A table that can be read column by column."""

    task: Table
    batches: Iterable[pa.RecordBatch]
    all_are_tested: bool
    """Whether rows without a split are tested."""


def columnar(task: Task, all_are_tested: bool) -> Columnar | None:
    """The table of a task that makes its examples in the usual way and reads columns; None for any other."""
    if not isinstance(task, Table) or task.options.template is not None:
        return None
    if any(name in vars(kind) for kind in type(task).__mro__[: -len(Table.__mro__)] for name in _OWN):
        return None
    batches = task.batches()
    return None if batches is None else Columnar(task, batches, all_are_tested)


def refuse_missing_columns(table: Columnar, names: Collection[str]) -> None:
    """Refuse columns `names` without one that every example needs: each row would be bad for that reason.

    Raises:
        InputError: names the column.
    """
    options = table.task.options
    needed = [*options.columns.values(), *([options.unit_column] if options.unit_column else [])]
    if "text" not in options.columns:
        needed.append("text")
    for name in needed:
        if name not in names:
            raise InputError(f"{table.task.source} has no column {name!r}; it has {shortened(list(names))}")


def chunks_of(table: Columnar, batch: pa.RecordBatch, first: int) -> Iterator[Chunk | list[dict[str, Any]]]:
    """The rows of a batch in order, as chunks where that is possible, otherwise as rows. `first`: its first number."""
    try:
        chunk, is_unusual = _Batch(table, batch, first).chunk()
    except (_UnusualError, pa.ArrowException, ValueError, OverflowError):
        yield rows_of(table.task.source, batch)
        return
    pieces = np.logical_or.reduceat(is_unusual, np.arange(0, len(is_unusual), PIECE_ROWS))
    bounds = [0, *(np.flatnonzero(np.diff(pieces)) + 1).tolist(), len(pieces)] if len(pieces) else [0]
    for begin, end in pairwise(bounds):
        start, stop = begin * PIECE_ROWS, min(end * PIECE_ROWS, len(chunk))
        if pieces[begin]:
            yield rows_of(table.task.source, batch.slice(start, stop - start))
        else:
            yield chunk if stop - start == len(chunk) else chunk.slice(start, stop)


class _Batch:
    """Some rows of a table in columns, and which of them must be looked at by themselves."""

    def __init__(self, table: Columnar, batch: pa.RecordBatch, first: int) -> None:
        self.all_are_tested, self.first = table.all_are_tested, first
        self.rows = batch.num_rows
        self.options, self.task = table.task.options, table.task
        renamed = self.options.columns
        names = batch.schema.names
        if self.rows == 0:
            raise _UnusualError
        batch.validate(full=True)  # of texts that are not UTF-8 too
        rest = [name for name in names if name not in renamed.values() and name not in renamed]
        self.columns = {name: batch.column(name) for name in rest}
        self.columns |= {part: batch.column(column) for part, column in renamed.items()}
        self.is_unusual: NDArray[np.bool_] = np.zeros(self.rows, np.bool_)

    def chunk(self) -> tuple[Chunk, NDArray[np.bool_]]:
        numbers = pa.array(np.arange(self.first, self.first + self.rows))
        ids = self._text_of("example_id")
        ids = compute.coalesce(ids, numbers.cast(pa.string())) if ids.null_count else ids
        units = self._text_of(self.options.unit_column or "unit")
        units = compute.coalesce(units, ids) if units.null_count else units
        target = self._text_of("target")
        choices, answer = self._choices_and_answer()
        text = self._text_of("text", numbers_too="text" in self.columns)
        self._set_aside(compute.fill_null(compute.equal(text, ""), True))
        self._set_aside(compute.and_(choices.is_null(), compute.fill_null(compute.equal(target, ""), True)))
        fixed = {
            "number": numbers, "example_id": ids, "unit": units, "split": self._splits(), "text": text,
            "choices": choices, "answer": answer, "target": target,
        }  # fmt: skip
        chunk = Chunk.of_columns(fixed, self._metrics())
        return chunk if self.all_are_tested else _with_drawn_splits(chunk), self.is_unusual

    def _set_aside(self, are_unusual: pa.Array) -> None:
        self.is_unusual |= are_unusual.to_numpy(zero_copy_only=False)

    def _text_of(self, part: str, numbers_too: bool = True) -> pa.Array:
        """A column as texts, or nulls if there is none; whole numbers are written as Python writes them."""
        column = self.columns.get(part)
        if column is None or pa.types.is_null(column.type):
            if part == "text":
                raise _UnusualError
            return pa.nulls(self.rows, pa.string())
        column = _plain(column)
        if not (pa.types.is_string(column.type) or (numbers_too and pa.types.is_integer(column.type))):
            raise _UnusualError
        return column.cast(pa.string())

    def _choices_and_answer(self) -> tuple[pa.Array, pa.Array]:
        choices, answer = (self.columns.get(part, pa.nulls(self.rows)) for part in ("choices", "answer"))
        if pa.types.is_null(answer.type) or pa.types.is_integer(answer.type):
            answer = answer.cast(pa.int64())
        else:
            raise _UnusualError
        if pa.types.is_null(choices.type):
            choices = choices.cast(pa.list_(pa.string()))
        elif not (pa.types.is_list(choices.type) or pa.types.is_large_list(choices.type)) or not (
            pa.types.is_string(choices.type.value_type) or pa.types.is_large_string(choices.type.value_type)
        ):
            raise _UnusualError
        choices = choices.cast(pa.list_(pa.string()))
        self._set_aside(compute.not_equal(choices.is_null(), answer.is_null()))
        if choices.null_count < len(choices):
            counts = [-1 if of is None else _usable(of) for of in choices.to_pylist()]
            last = compute.fill_null(answer, 0).to_numpy()
            self.is_unusual |= (np.array(counts) == 0) | (last < 0) | (last >= np.abs(counts))
        return choices, answer

    def _splits(self) -> pa.Array:
        """The split of each row as a code; -1 where it is still to be drawn."""
        named = self._text_of("split", numbers_too=False)
        default = SPLIT_CODES["test"] if self.all_are_tested else -1
        codes = compute.index_in(named, pa.array(SPLITS))
        self._set_aside(compute.and_(codes.is_null(), named.is_valid()))
        return compute.fill_null(codes, default).cast(pa.int8())

    def _metrics(self) -> dict[str, pa.Array]:
        metrics: dict[str, pa.Array] = {}
        ignored: dict[str, pa.Array] = {}
        for name, column in self.columns.items():
            if name in PARTS:
                continue
            if name in NEVER_METRICS:
                ignored[name] = pa.array(np.ones(self.rows, np.bool_))
            elif pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
                if column.null_count == self.rows:
                    raise _UnusualError
                ignored[name] = column.is_valid()
            else:
                metrics[name] = self._metric(name, _plain(column))
        self._note_ignored(ignored)
        return metrics

    def _note_ignored(self, columns: dict[str, pa.Array]) -> None:
        """Note columns that make no metric, in the order in which a row shows it."""
        shown = {
            name: np.flatnonzero(column.to_numpy(zero_copy_only=False) & ~self.is_unusual)
            for name, column in columns.items()
        }
        for name in sorted((name for name, rows in shown.items() if len(rows)), key=lambda name: shown[name][0]):
            self.task.ignored_columns[name] = NEVER_METRICS.get(name, LIST)

    def _metric(self, name: str, column: pa.Array) -> pa.Array:
        kind = column.type
        if pa.types.is_boolean(kind) or pa.types.is_string(kind) or pa.types.is_null(kind):
            return column
        if pa.types.is_integer(kind):
            return column.cast(pa.int64())
        if pa.types.is_temporal(kind) or pa.types.is_decimal(kind):
            values = [metric_value(name, value) for value in column.to_pylist()]
            column = pa.array(values, pa.float64())
        elif not pa.types.is_floating(kind):
            raise _UnusualError
        column = column.cast(pa.float64())
        column = compute.if_else(compute.is_nan(column), pa.scalar(None, pa.float64()), column)
        self._set_aside(compute.fill_null(compute.greater(compute.abs(column), LARGEST_VALUE), False))
        return column


def _plain(column: pa.Array) -> pa.Array:
    """A column whose texts are of the usual type, and whose moments are as exact as Python's."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return column.cast(pa.string())
    if pa.types.is_timestamp(kind) and kind.unit == "ns":
        return column.cast(pa.timestamp("us", kind.tz), safe=False)
    return column


def _usable(choices: list[str | None]) -> int:
    """How many choices there are; 0 if they must be looked at."""
    count = len(choices)
    return count if count > 1 and all(choices) and len(set(choices)) == count else 0


def _with_drawn_splits(chunk: Chunk) -> Chunk:
    """The chunk with a split drawn for each row that has none, as `split_of` does."""
    codes = chunk.splits
    if (codes >= 0).all():
        return chunk
    position = (chunk.unit_hashes >> np.uint64(11)) * 2.0**-53
    bounds = [TRAIN_FRACTION, TRAIN_FRACTION + VALIDATION_FRACTION]
    drawn = np.searchsorted(bounds, position, side="right").astype(np.int8)
    return chunk.with_splits(np.where(codes < 0, drawn, codes))
