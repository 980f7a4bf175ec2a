"""Every column of a data set is a field, a metric, one-hot or ignored for a reason; none is lost without a word."""

import json
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from skilljobs.errors import InputError
from skilljobs.plan.reading import read_rows
from skilljobs.tasks.base import Example
from skilljobs.tasks.columns import ColumnReport, report_columns
from skilljobs.tasks.external_metrics import external_metrics, group_populations
from skilljobs.tasks.table import Table, TableOptions
from tests.tables import write_jsonl

FIELDS = {"text": "a:", "choices": [" x", " y"], "answer": 0}
VALUES = st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-9, 9) | st.text("ab", max_size=2)
LISTS = st.lists(VALUES, max_size=2)
NAMED_VALUES = st.dictionaries(st.sampled_from("ab"), VALUES)
NAMES = st.sampled_from(["level", "kind", "half", "unit", "wide", "sub.part", "", "näme", "split"])


def table_of(path: Path, **options: Any) -> Table:
    return Table(TableOptions(data=path, **options))


def report_of(path: Path, **options: Any) -> ColumnReport:
    task = table_of(path, **options)
    reader = read_rows(task)
    return report_columns(task, list(reader.columns), reader.examples, external_metrics(reader.examples))


class Rows(Table):
    """A table whose rows are given."""

    given: list[dict[str, Any]]

    def rows(self) -> list[dict[str, Any]]:
        return self.given


@settings(deadline=None)
@given(st.lists(st.dictionaries(NAMES, VALUES | LISTS | NAMED_VALUES), min_size=1, max_size=6))
def test_every_column_of_the_rows_is_accounted_for(rows: list[dict[str, Any]]) -> None:
    task = Rows()
    task.given = [FIELDS | row for row in rows]
    reader = read_rows(task)
    report = report_columns(task, list(reader.columns), reader.examples, external_metrics(reader.examples))
    accounts = [set(report.fields), set(report.metrics), set(report.one_hot), set(report.ignored)]
    assert set().union(*accounts) >= set().union(*task.given)
    assert sum(map(len, accounts)) == len(set().union(*accounts)), "none is in two places"
    assert all(reason in report.line for reason in report.ignored.values())
    made = {metric.column for metric in external_metrics(reader.examples)}
    assert made == {*report.metrics, *report.one_hot}


def test_a_column_with_one_list_is_ignored_in_all_rows(tmp_path: Path) -> None:
    """It was a metric of the rows before the list, and none of those after it."""
    rows = [FIELDS | {"tags": [1] if n == 2 else n} for n in range(5)]
    path = write_jsonl(tmp_path / "t.jsonl", rows)
    assert all("tags" not in example.metrics for example in read_rows(table_of(path)).examples)
    assert report_of(path).line.endswith("ignored: tags (list)")


def test_the_report_names_the_reasons(tmp_path: Path) -> None:
    rows = [
        {"example_id": str(n), "level": n, "half": "b", "words": None if n == 3 else n * 2.5, "kind": "ab"[n % 2]}
        | {"source": "here", "note": f"text {n}", "tags": [n], "nothing": None}
        for n in range(60)
    ]
    report = report_of(write_jsonl(tmp_path / "t.jsonl", [FIELDS | row for row in rows]))
    assert report.line == (
        "fields: text, choices, answer, example_id; metrics: level, words (nullable); one-hot: kind (2);"
        " ignored: half (skilljobs draws the halves itself), tags (list), source (constant),"
        " note (text, 60 values), nothing (empty)"
    )


def test_dates_durations_and_decimals_are_numbers(tmp_path: Path) -> None:
    columns = {
        "day": [date(1970, 1, 2), date(1970, 1, 3)],
        "moment": [datetime(1970, 1, 1, 1), None],
        "lasted": [timedelta(minutes=2), timedelta(0)],
        "at": [time(1, 0, 1), time(0)],
        "price": [Decimal("1.50"), Decimal("2.25")],
        "raw": [b"1", b"2"],
        "text": ["a:", "b:"],
        "target": [" x", " y"],
    }
    parquet.write_table(pa.table(columns), tmp_path / "t.parquet")
    reader = read_rows(table_of(tmp_path / "t.parquet"))
    first, second = (example.metrics for example in reader.examples)
    assert first == {"day": 86400.0, "moment": 3600.0, "lasted": 120.0, "at": 3601.0, "price": 1.5}
    assert second == {"day": 172800.0, "moment": None, "lasted": 0.0, "at": 0.0, "price": 2.25}
    assert "raw (bytes)" in report_of(tmp_path / "t.parquet").line


def test_numbers_with_na_are_nullable_numbers(tmp_path: Path) -> None:
    """One `NA` in a column of numbers does not make each number a category."""
    path = tmp_path / "t.csv"
    path.write_text("text,target,level,share,kind\n" + "".join(
        f"{n}:,x,{'NA' if n == 4 else n},{'n/a' if n == 5 else n / 8},{'NA' if n % 2 else 'b'}\n" for n in range(8)
    ))  # fmt: skip
    reader = read_rows(table_of(path))
    assert [example.metrics["level"] for example in reader.examples] == [0, 1, 2, 3, None, 5, 6, 7]
    assert [example.metrics["share"] for example in reader.examples] == [0, 0.125, 0.25, 0.375, 0.5, None, 0.75, 0.875]
    assert [example.metrics["kind"] for example in reader.examples] == ["b", "NA"] * 4, "a category may be called NA"
    assert report_of(path).line.split("; ")[1:] == ["metrics: level (nullable), share (nullable)", "one-hot: kind (2)"]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("t.csv", "text,target,level,level\na:,x,1,2\n", "'level'"),
        ("t.tsv", "text\ttarget\tlevel\tlevel\na:\tx\t1\t2\n", "'level'"),
        ("t.jsonl", '{"text": "a:", "target": "x", "level": 1, "level": 2}\n', "line 1 has 'level' more than once"),
    ],
)
def test_a_column_that_is_there_twice_is_refused(tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=said):
        read_rows(table_of(tmp_path / name))


def test_a_row_of_another_kind_is_one_bad_row(tmp_path: Path) -> None:
    rows = [FIELDS | {"level": "n/a" if n == 7 else n} for n in range(200)]
    reader = read_rows(table_of(write_jsonl(tmp_path / "t.jsonl", rows)))
    assert (len(reader.examples), [row.number for row in reader.bad]) == (199, [8])
    reader.refuse_too_many_bad(0.01)
    with pytest.raises(InputError, match="row 8 is bad: `level` is 'n/a', and most rows have numbers there"):
        reader.refuse_too_many_bad(0.001)


@pytest.mark.parametrize("text", [["a"], {"a": 1}, True])
def test_a_text_that_is_none_is_a_bad_row(tmp_path: Path, text: Any) -> None:
    """A list was made text as Python prints it."""
    reader = read_rows(table_of(write_jsonl(tmp_path / "t.jsonl", [FIELDS, FIELDS | {"text": text}])))
    assert "which is not a text" in reader.bad[0].reason
    reader = read_rows(table_of(write_jsonl(tmp_path / "c.jsonl", [FIELDS, FIELDS | {"choices": ["x", text]}])))
    assert "which is not a text" in reader.bad[0].reason


def test_deeply_nested_json_is_a_bad_file_and_no_crash(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text(json.dumps(FIELDS) + "\n" + "[" * 100_000 + "]" * 100_000)
    with pytest.raises(InputError, match="line 2"):
        read_rows(table_of(tmp_path / "t.jsonl"))


@pytest.mark.parametrize(("values", "said"), [(51, "51"), (10_000, "10000"), (10_001, "more than 10,000")])
def test_a_group_column_of_too_many_values_is_refused(values: int, said: str) -> None:
    examples = [Example(str(n), str(n), "test", "t", target="x", metrics={"g": n}) for n in range(values)]
    with pytest.raises(InputError, match=f"the column 'g' has {said} values; a group column needs between 1 and 50"):
        group_populations(examples, "g")
