"""Reads all rows of a task."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from skilljobs.plan.row_reader import BadRow, RowReader
from skilljobs.tasks.base import Example, Task, tuning_split_of
from skilljobs.tasks.external_kinds import mixed_kinds
from skilljobs.tasks.table_columns import columnar


def read_rows(task: Task) -> RowReader:
    """Read all rows of `task` into examples; rows whose values are not of their column's kind are quarantined.

    Raises:
        InputError: a source has no rows, or cannot be read.
    """
    reader, split_column = RowReader(), task.split_column
    source, training_rows = task.source, task.training_rows()

    def as_test_example(row: Mapping[str, Any], number: int) -> Example:
        example = task.example(row, number)
        return example if row.get(split_column) is not None else replace(example, split="test")

    def as_tuning_example(row: Mapping[str, Any], number: int) -> Example:
        example = task.training_example(row, number)
        example_id = f"train/{example.example_id}"  # both sources may number their rows from 1
        unit = example_id if example.unit == example.example_id else example.unit
        split = example.split if row.get(split_column) in ("train", "validation") else tuning_split_of(unit)
        return replace(example, split=split, example_id=example_id, unit=unit)

    make = task.example if training_rows is None else as_test_example
    table = columnar(task, all_are_tested=training_rows is not None)
    if table is not None:
        reader.read_columns(source, table, make)
    else:
        reader.read(source, task.rows(), make)
    if training_rows is not None:
        training_source = str(task.options.training_place or f"the training pairs of the task {task.name}")
        reader.read(training_source, training_rows, as_tuning_example)
    reader.settle()
    reader.ignore_columns(task.ignored_columns)
    if reader.kinds.may_be_mixed:
        reader.quarantine(mixed_kinds(reader.examples))
    return reader


def read_examples(task: Task, max_bad_fraction: float) -> tuple[list[Example], list[BadRow]]:
    """Return all examples of `task` and the rows that were quarantined.

    Raises:
        InputError: a source has no rows, or more than `max_bad_fraction` of its rows are bad.
    """
    reader = read_rows(task)
    reader.refuse_too_many_bad(max_bad_fraction)
    return list(reader.examples), reader.bad
