"""A table of metrics by themselves: a column `example_id`, and a column for each metric."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from skilljobs.errors import InputError
from skilljobs.tasks.base import Example, MetricValues, check_example
from skilljobs.tasks.external_kinds import mixed_kinds
from skilljobs.tasks.row_files import read_table
from skilljobs.tasks.table import Table

EXAMPLE_ID = "example_id"


@dataclass(frozen=True)
class MetricFile:
    """The rows of such a table, by `example_id`."""

    path: Path
    rows: Mapping[str, MetricValues]
    columns: tuple[str, ...]
    """The columns beside `example_id`, in the order of their first appearance."""
    ignored: Mapping[str, str]
    """Why a column makes no metric, as far as its values' type shows."""


def read_metric_file(path: Path) -> MetricFile:
    """Read a JSON lines, CSV or Parquet file whose values are read as those of a user's own table.

    Raises:
        InputError: the file cannot be read, has no such columns, or one of its rows is bad or is there twice; the
            message names the row.
    """
    table = Table()
    columns: dict[str, None] = {}
    rows: dict[str, Example] = {}
    numbers: dict[str, int] = {}
    for number, row in enumerate(read_table(path), start=1):
        columns.update(dict.fromkeys(row))
        if row.get(EXAMPLE_ID) is None:
            raise InputError(f"{path}: row {number} has no {EXAMPLE_ID}, which says which example its metrics are of")
        example_id = str(row[EXAMPLE_ID])
        if example_id in rows:
            raise InputError(f"{path}: row {number} has the {EXAMPLE_ID} {example_id!r} of row {numbers[example_id]}")
        try:
            metrics = table.metrics_of({name: value for name, value in row.items() if name != EXAMPLE_ID})
            rows[example_id] = check_example(Example(example_id, example_id, "test", "-", target="-", metrics=metrics))
        except ValueError as error:
            raise InputError(f"{path}: row {number} is bad: {error}") from error
        numbers[example_id] = number
    columns.pop(EXAMPLE_ID, None)
    if not rows:
        raise InputError(f"{path} has no rows")
    if not columns:
        raise InputError(f"{path} has no column beside {EXAMPLE_ID}: each other column is a metric")
    for example_id, reason in mixed_kinds(rows.values()).items():
        raise InputError(f"{path}: row {numbers[example_id]} is bad: {reason}")
    kept = {
        example_id: {name: value for name, value in example.metrics.items() if name not in table.ignored_columns}
        for example_id, example in rows.items()
    }
    return MetricFile(path, kept, tuple(columns), dict(table.ignored_columns))
