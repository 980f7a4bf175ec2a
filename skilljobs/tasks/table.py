"""A user's own table: JSON lines, CSV or Parquet, with the columns of an example."""

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from skilljobs.errors import InputError
from skilljobs.tasks.base import Example, MetricValue, Task, split_of
from skilljobs.tasks.files import read_table

EXAMPLE_COLUMNS = frozenset({"example_id", "split", "unit", "half", "text", "choices", "answer", "target"})


class Table(Task):
    """Rows with `text`, and `choices` (a list, or text that is a JSON list) with `answer`, or `target`.

    `example_id`, `unit` and `split` are respected where they stand; every other column is an external metric. Columns
    of other names are said by `self.options.columns`.
    """

    name = "table"
    takes = frozenset(
        {"template", "unit", "train_data", *(f"{name}_column" for name in ("text", "choices", "answer", "target"))}
        | {"id_column", "split_column"}
    )

    def rows(self) -> Iterable[Mapping[str, Any]]:
        if self.options.data is None:
            raise InputError("a table needs --data FILE")
        return self._read(self.options.data)

    def training_rows(self) -> Iterable[Mapping[str, Any]] | None:
        return None if self.options.train_data is None else self._read(self.options.train_data)

    def _read(self, path: Path) -> Iterable[Mapping[str, Any]]:
        return read_table(path, [name for column, name in self.options.columns.items() if column != "answer"])

    def example(self, row: Mapping[str, Any], number: int) -> Example:
        row = self._renamed(row)
        choices = row.get("choices")
        if isinstance(choices, str):
            choices = json.loads(choices)
        if choices is not None and not isinstance(choices, list):
            raise ValueError(f"`choices` is {choices!r}, not a list")
        answer = row.get("answer")
        if answer is not None and answer != int(answer):
            raise ValueError(f"`answer` is {answer!r}, not an index")
        example_id = str(row["example_id"]) if row.get("example_id") is not None else str(number)
        unit_column = self.options.unit_column or "unit"
        if self.options.unit_column and unit_column not in row:
            raise KeyError(unit_column)
        unit = str(row[unit_column]) if row.get(unit_column) is not None else example_id
        if choices is not None and None in choices:
            raise ValueError("one of its `choices` is null")
        text = row["text"] if self.options.template is None else self.options.template.format(**_filled(row))
        if text is None:
            raise ValueError("`text` is null")
        return Example(
            example_id=example_id,
            unit=unit,
            split=str(row["split"]) if row.get("split") is not None else split_of(unit),
            text=str(text),
            choices=None if choices is None else tuple(map(str, choices)),
            answer=None if answer is None else int(answer),
            target=None if row.get("target") is None else str(row["target"]),
            metrics={
                column: _metric_value(column, value)
                for column, value in row.items()
                if column and column not in EXAMPLE_COLUMNS and not isinstance(value, list | dict)
            },
        )

    def _renamed(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        """The row with the names of an example's columns; a column that is replaced by another is a metric no more."""
        columns = self.options.columns
        for column in columns.values():
            if column not in row:
                raise KeyError(column)
        if not columns:
            return row
        kept = {name: value for name, value in row.items() if name not in columns.values() and name not in columns}
        return kept | {name: row[column] for name, column in columns.items()}


def _filled(row: Mapping[str, Any]) -> dict[str, Any]:
    """The columns that have a value: a template that names another is refused."""
    return {column: value for column, value in row.items() if value is not None}


def _metric_value(column: str, value: Any) -> MetricValue:
    if isinstance(value, float) and not math.isfinite(value):
        if math.isnan(value):
            return None
        raise ValueError(f"`{column}` is {value}")
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
