"""Reads a task's rows into examples, and quarantines bad rows together with the reason."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from skilljobs.errors import InputError
from skilljobs.suggestions import shortened
from skilljobs.tasks.base import Example, Task, check_example, tuning_split_of
from skilljobs.tasks.external_metrics import mixed_kinds

LONGEST_REASON = 300
"""Characters: a value that it repeats may be a whole text."""


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that could not be turned into an example. `source` is its file, or the task that generated it."""

    source: str
    number: int
    reason: str


class RowReader:
    """Reads the rows of several sources; across all of them, ids must be unique and a unit must be in one split."""

    def __init__(self) -> None:
        self.examples: list[Example] = []
        self.bad: list[BadRow] = []
        self.columns: dict[str, None] = {}
        """The columns of the tested rows, in the order of their first appearance."""
        self._rows: dict[str, int] = {}
        self._places: dict[str, tuple[str, int]] = {}
        self._split_of_unit: dict[str, tuple[str, str]] = {}

    def read(
        self, source: str, rows: Iterable[Mapping[str, Any]], make: Callable[[Mapping[str, Any], int], Example]
    ) -> None:
        """Read all rows of one source.

        Raises:
            InputError: it has none.
        """
        number = 0
        for number, row in enumerate(rows, start=1):
            if not self._rows:
                self.columns.update(dict.fromkeys(row))
            try:
                self._add(check_example(make(row, number)), source, number)
            except KeyError as error:
                self.bad.append(
                    BadRow(source, number, _cut(f"it has no column {error}; it has {shortened(list(map(str, row)))}"))
                )
            except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError) as error:
                self.bad.append(BadRow(source, number, _cut(str(error))))
        if number == 0:
            raise InputError(f"{source} has no rows")
        self._rows[source] = number

    def _add(self, example: Example, source: str, number: int) -> None:
        if example.example_id in self._places:
            first_number = self._places[example.example_id][1]
            raise ValueError(f"its example_id {example.example_id!r} is that of row {first_number}")
        split, first = self._split_of_unit.setdefault(example.unit, (example.split, f"row {number}"))
        if split != example.split:
            raise ValueError(f"its unit {example.unit!r} is in {example.split} here and in {split} in {first}")
        self._places[example.example_id] = source, number
        self.examples.append(example)

    def ignore_columns(self, columns: Collection[str]) -> None:
        """Take columns out of the metrics of all examples, those read before a row showed why among them."""
        self.examples = [
            replace(example, metrics={name: entry for name, entry in example.metrics.items() if name not in columns})
            if any(name in columns for name in example.metrics)
            else example
            for example in self.examples
        ]

    def quarantine(self, reasons: Mapping[str, str]) -> None:
        """Set examples aside that turned out to be bad. `reasons`: by `example_id`."""
        if reasons:
            self.examples = [example for example in self.examples if example.example_id not in reasons]
            self.bad += [BadRow(*self._places[example_id], _cut(reason)) for example_id, reason in reasons.items()]

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


def _cut(reason: str) -> str:
    return reason if len(reason) <= LONGEST_REASON else f"{reason[: LONGEST_REASON - 60]} ... {reason[-50:]}"


def read_rows(task: Task) -> RowReader:
    """Read all rows of `task` into examples; rows whose values are not of their column's kind are quarantined.

    Raises:
        InputError: a source has no rows, or cannot be read.
    """
    reader, split_column = RowReader(), task.split_column
    source, training_rows = str(task.options.data or f"the task {task.name}"), task.training_rows()

    def as_test_example(row: Mapping[str, Any], number: int) -> Example:
        example = task.example(row, number)
        return example if row.get(split_column) is not None else replace(example, split="test")

    def as_tuning_example(row: Mapping[str, Any], number: int) -> Example:
        example = task.training_example(row, number)
        example_id = f"train/{example.example_id}"  # both sources may number their rows from 1
        unit = example_id if example.unit == example.example_id else example.unit
        split = example.split if row.get(split_column) in ("train", "validation") else tuning_split_of(unit)
        return replace(example, split=split, example_id=example_id, unit=unit)

    reader.read(source, task.rows(), task.example if training_rows is None else as_test_example)
    if training_rows is not None:
        training_source = str(task.options.train_data or f"the training pairs of the task {task.name}")
        reader.read(training_source, training_rows, as_tuning_example)
    reader.ignore_columns(task.ignored_columns)
    reader.quarantine(mixed_kinds(reader.examples))
    return reader


def read_examples(task: Task, max_bad_fraction: float) -> tuple[list[Example], list[BadRow]]:
    """Return all examples of `task` and the rows that were quarantined.

    Raises:
        InputError: a source has no rows, or more than `max_bad_fraction` of its rows are bad.
    """
    reader = read_rows(task)
    reader.refuse_too_many_bad(max_bad_fraction)
    return reader.examples, reader.bad
