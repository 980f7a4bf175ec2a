"""A user's own table in JSON lines, CSV or Parquet, with the columns of an example."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skilljobs.errors import InputError
from skilljobs.options import option
from skilljobs.tasks.base import SINGLE_VALUES, Example, MetricValue, MetricValues, Task, TaskOptions, split_of
from skilljobs.tasks.row_files import read_batches, read_table
from skilljobs.tasks.text_files import parse_json

if TYPE_CHECKING:
    import pyarrow as pa

PARTS = frozenset({"example_id", "split", "unit", "text", "choices", "answer", "target"})
"""The columns of a table that become parts of an example."""
NEVER_METRICS = {"half": "skilljobs draws the halves itself", "": "it has no name"}
"""Columns that make no metric whatever they hold, and why."""
LIST = "list"
"""Why a column of lists makes no metric."""


@dataclass(frozen=True)
class TableOptions(TaskOptions):
    """The names of the columns that hold the parts of an example, where they differ from the default names."""

    text_column: str | None = option(None, "The column with the text.", metavar="COLUMN", default_text="text")
    choices_column: str | None = option(None, "The column with the choices.", metavar="COLUMN", default_text="choices")
    answer_column: str | None = option(
        None, "The column with the index of the right choice.", metavar="COLUMN", default_text="answer"
    )
    target_column: str | None = option(
        None, "The column with the right answer to an open question.", metavar="COLUMN", default_text="target"
    )
    id_column: str | None = option(
        None, "The column that identifies a row.", metavar="COLUMN", default_text="example_id"
    )
    split_column: str | None = option(
        None, "The column that says train, validation or test.", metavar="COLUMN", default_text="split"
    )

    @property
    def columns(self) -> dict[str, str]:
        """The parts of an example whose column has another name, each with the name of its column."""
        named = {
            "text": self.text_column,
            "choices": self.choices_column,
            "answer": self.answer_column,
            "target": self.target_column,
            "split": self.split_column,
            "example_id": self.id_column,
        }
        return {part: column for part, column in named.items() if column is not None}


class Table(Task):
    """Rows with `text`, and either `choices` (a list, or text that is a JSON list) with `answer`, or `target`.

    `example_id`, `unit` and `split` are used if they are present; every other column is an external metric.
    """

    name = "table"
    options_type = TableOptions
    options: TableOptions
    accepts = frozenset({"template", "unit", "train_data"})

    def __init__(self, options: TaskOptions | None = None) -> None:
        super().__init__(options)
        self.split_column = self.options.split_column or "split"
        renamed = self._columns = self.options.columns
        self.fields = frozenset(renamed.get(part, part) for part in PARTS) | {self.options.unit_column or "unit"}

    def rows(self) -> Iterable[Mapping[str, Any]]:
        place = self.options.place
        if place is None:
            raise InputError("a table needs --data FILE")
        return self._read(place)

    def training_rows(self) -> Iterable[Mapping[str, Any]] | None:
        place = self.options.training_place
        return None if place is None else self._read(place)

    def batches(self) -> "Iterator[pa.RecordBatch] | None":
        """The rows in columns, if that is how the file has them; otherwise None.

        Raises:
            InputError: the source as a whole cannot be read.
        """
        place = self.options.place
        return None if place is None else read_batches(place, self._text_columns)

    @property
    def _text_columns(self) -> list[str]:
        return [name for column, name in self.options.columns.items() if column != "answer"]

    def _read(self, place: Path | str) -> Iterable[Mapping[str, Any]]:
        return read_table(place, self._text_columns)

    def example(self, row: Mapping[str, Any], number: int) -> Example:
        row = self._renamed(row)
        for part in ("text", "target"):
            if type(row.get(part)) is not str and isinstance(row.get(part), list | Mapping | bool | bytes):
                raise ValueError(f"`{part}` is {row[part]!r}, which is not a text")
        choices = row.get("choices")
        if isinstance(choices, str):
            try:
                choices = parse_json(choices)
            except ValueError as error:
                raise ValueError(f"`choices` {error}") from None
        if choices is not None and not isinstance(choices, list):
            raise ValueError(f"`choices` is {choices!r}, which is not a list")
        answer = _index_of(row.get("answer"), choices)
        example_id = str(row["example_id"]) if row.get("example_id") is not None else str(number)
        unit_column = self.options.unit_column or "unit"
        if self.options.unit_column and unit_column not in row:
            raise KeyError(unit_column)
        unit = str(row[unit_column]) if row.get(unit_column) is not None else example_id
        for choice in choices or ():
            if choice is None:
                raise ValueError("one of its `choices` is null")
            if isinstance(choice, list | Mapping | bool):
                raise ValueError(f"one of its `choices` is {choice!r}, which is not a text")
        text = row["text"] if self.options.template is None else self.options.template.format(**_present(row))
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
            metrics=self.metrics_of(row),
        )

    def metrics_of(self, row: Mapping[str, Any]) -> MetricValues:
        """The values of all columns that are no part of an example; what cannot be a metric is noted as ignored."""
        metrics: dict[str, MetricValue | Mapping[str, MetricValue]] = {}
        for column, value in row.items():
            if column in NEVER_METRICS:
                self.ignored_columns[column] = NEVER_METRICS[column]
            elif column not in PARTS:
                if type(value) in SINGLE_VALUES:
                    metrics[column] = metric_value(column, value)
                elif isinstance(value, Mapping) and all(
                    isinstance(v, bool | int | float | None) for v in value.values()
                ):
                    metrics[column] = {str(key): metric_value(column, v) for key, v in value.items()}
                elif isinstance(value, list | Mapping | bytes):
                    kind = LIST if isinstance(value, list) else "bytes" if isinstance(value, bytes) else "nested"
                    self.ignored_columns[column] = kind
                else:
                    metrics[column] = metric_value(column, value)
        return metrics

    def _renamed(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the row with its columns renamed to the parts of an example.

        A column that has the name of a part but is replaced by another column does not become a metric.

        Raises:
            KeyError: the row lacks one of the columns that the options name.
        """
        columns = self._columns
        if not columns:
            return row
        for column in columns.values():
            if column not in row:
                raise KeyError(column)
        kept = {name: value for name, value in row.items() if name not in columns.values() and name not in columns}
        return kept | {name: row[column] for name, column in columns.items()}


def _index_of(answer: Any, choices: Sequence[Any] | None) -> Any:
    """The index that `answer` is, or of the choice whose text it is, white space at its ends aside; None if missing.

    Raises:
        ValueError: it is neither.
    """
    if isinstance(answer, str) and choices is not None:
        equal = [place for place, choice in enumerate(choices) if str(choice).strip() == answer.strip()]
        if len(equal) == 1:
            return equal[0]
        raise ValueError(f"`answer` is {answer!r}, which is not an index and not one of the `choices`")
    if answer is not None and not _is_whole(answer):
        raise ValueError(f"`answer` is {answer!r}, which is not an index")
    return answer


def _is_whole(value: Any) -> bool:
    try:
        return bool(value == int(value))
    except (ValueError, TypeError, OverflowError):
        return False


def _present(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns that have a value, so that a template that names any other column is rejected."""
    return {column: value for column, value in row.items() if value is not None}


def metric_value(column: str, value: Any) -> MetricValue:
    """A value as a metric has it: moments as seconds since 1970 (UTC), durations and times of day in seconds."""
    if value is None or type(value) in (bool, int, str):
        return value  # type: ignore[no-any-return]
    if isinstance(value, Decimal):
        value = float(value)
    elif isinstance(value, datetime):
        value = (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    elif isinstance(value, date):
        value = datetime(value.year, value.month, value.day, tzinfo=UTC).timestamp()
    elif isinstance(value, timedelta):
        value = value.total_seconds()
    elif isinstance(value, time):
        value = timedelta(hours=value.hour, minutes=value.minute, seconds=value.second).total_seconds()
    if isinstance(value, float) and not math.isfinite(value):
        if math.isnan(value):
            return None
        raise ValueError(f"`{column}` is {value}")
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
