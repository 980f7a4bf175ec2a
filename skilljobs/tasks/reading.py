"""Reads a task's rows into examples, and quarantines bad rows together with the reason."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from skilljobs.errors import InputError
from skilljobs.tasks.base import Example, Task, check_example, tuning_split_of


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that could not be turned into an example. `source` is its file, or the task that generated it."""

    source: str
    number: int
    reason: str


class _Reader:
    """Reads the rows of several sources; across all of them, ids must be unique and a unit must be in one split."""

    def __init__(self, max_bad_fraction: float) -> None:
        self.examples: list[Example] = []
        self.bad: list[BadRow] = []
        self._max_bad_fraction = max_bad_fraction
        self._seen: dict[str, str] = {}
        self._split_of_unit: dict[str, tuple[str, str]] = {}

    def read(
        self, source: str, rows: Iterable[Mapping[str, Any]], make: Callable[[Mapping[str, Any], int], Example]
    ) -> None:
        bad: list[BadRow] = []
        number = 0
        for number, row in enumerate(rows, start=1):
            try:
                self._add(check_example(make(row, number)), f"row {number}")
            except KeyError as error:
                bad.append(BadRow(source, number, f"it has no column {error}"))
            except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
                bad.append(BadRow(source, number, str(error)))
        if number == 0:
            raise InputError(f"{source} has no rows")
        if bad and len(bad) > self._max_bad_fraction * number:
            raise InputError(
                f"{source}: row {bad[0].number} is bad: {bad[0].reason}"
                + (f" (and {len(bad) - 1} more of {number} rows)" if len(bad) > 1 else "")
                + f"; at most a fraction of {self._max_bad_fraction:.3g} of the rows may be bad (--max-bad-rows)"
            )
        self.bad += bad

    def _add(self, example: Example, place: str) -> None:
        if example.example_id in self._seen:
            raise ValueError(f"its example_id {example.example_id!r} is that of {self._seen[example.example_id]}")
        split, first = self._split_of_unit.setdefault(example.unit, (example.split, place))
        if split != example.split:
            raise ValueError(f"its unit {example.unit!r} is in {example.split} here and in {split} in {first}")
        self._seen[example.example_id] = place
        self.examples.append(example)


def read_examples(task: Task, max_bad_fraction: float) -> tuple[list[Example], list[BadRow]]:
    """Return all examples of `task` and the rows that were quarantined.

    Raises:
        InputError: a source has no rows, or more than `max_bad_fraction` of its rows are bad.
    """
    reader, split_column = _Reader(max_bad_fraction), task.split_column
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
    return reader.examples, reader.bad
