"""Whatever a data file holds, it is read or refused in a sentence, and no row or column is lost without a word."""

import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from skilljobs.errors import InputError
from skilljobs.plan.reading import read_rows
from skilljobs.plan.row_reader import RowReader
from skilljobs.store.examples import example_bytes, example_schema, examples_from
from skilljobs.tasks.arithmetic import Arithmetic, read_bigbench
from skilljobs.tasks.base import Task, TaskOptions
from skilljobs.tasks.columns import ColumnReport, report_columns
from skilljobs.tasks.external_kinds import check_columns
from skilljobs.tasks.external_metrics import external_metrics
from skilljobs.tasks.hans import Hans, HansOptions
from skilljobs.tasks.nli import NO_GOLD_LABEL
from skilljobs.tasks.row_files import read_tab_separated, read_table
from skilljobs.tasks.table import PARTS, Table, TableOptions
from tests.fuzz.damage import JSON_VALUE, ODD_NUMBER, ODD_TEXT, damaged, fuzzed
from tests.tables import random_rows

pytestmark = pytest.mark.fuzz

ROWS = random_rows(6)
JSON_LINES = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
CSV = (
    b'text,choices,answer,level,kind,at\n"What, is",""" [1, 2]""",1,NA,a,2024-01-01\n'
    b'b:,"["" x"", "" y""]",0,2.5,b,2024-01-02\nc:,"[1, 2]",1,3,a,\n'
)
QUESTION = {"input": "What is 2 plus 3?", "target": "5", "target_scores": {"5": 1, "6": 0, "banana": 0}}
TASK_JSON = json.dumps({"name": "arithmetic", "examples": [QUESTION, QUESTION | {"input": "What is 9 times 1?"}]})
HANS = (
    b"gold_label\tsentence1\tsentence2\tpairID\theuristic\tsubcase\ttemplate\n"
    b"entailment\tThe actor slept .\tHe slept .\tex1\tlexical\tle_a\tt1\n"
    b"non-entailment\tThe judge ran .\tHe slept .\tex2\tsubsequence\tsn_b\tt2\n"
)


def a_parquet_file() -> bytes:
    flat = [{**row, "at": 1_700_000_000_000_000_000, "scores": {"a": 1.5, "b": None}} for row in ROWS]
    table = pa.Table.from_pylist(flat)
    place = table.schema.get_field_index("at")
    table = table.set_column(place, "at", table.column(place).cast(pa.timestamp("ns")))
    sink = pa.BufferOutputStream()
    parquet.write_table(table, sink, compression="none")
    return sink.getvalue().to_pybytes()


PARQUET = a_parquet_file()
SEEDS = {
    "t.jsonl": JSON_LINES,
    "t.csv": CSV,
    "t.tsv": CSV.replace(b",", b"\t"),
    "t.parquet": PARQUET,
    "t.jsonl.gz": gzip.compress(JSON_LINES, mtime=0),
    "t.csv.gz": gzip.compress(CSV, mtime=0),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


def read_and_account(task: Task, path: Path, rows: list[Mapping[str, Any]] | None) -> None:
    """Read a file as a job does; `rows` are its rows as they are, None if they could not be read."""
    try:
        reader = read_rows(task)
        check_columns(reader.examples)
        chosen = external_metrics(reader.examples)
        report = report_columns(task, list(reader.columns), reader.examples, chosen)
    except InputError:
        return
    assert rows is not None
    every_row_is_accounted_for(reader, str(path), len(rows))
    every_column_is_accounted_for(task, rows, report)
    if reader.examples:
        stored = examples_from(example_bytes(reader.examples, example_schema(reader.examples)).to_pybytes())
        assert [e.text for e in stored] == [e.text for e in reader.examples]


def every_row_is_accounted_for(reader: RowReader, source: str, count: int) -> None:
    examples = sum(1 for example in reader.examples if not example.example_id.startswith("train/"))
    bad = [row for row in reader.bad if row.source == source]
    assert examples + len(bad) == count
    assert len({row.number for row in bad}) == len(bad)
    assert all(row.reason and 1 <= row.number <= count for row in bad)


def every_column_is_accounted_for(task: Task, rows: list[Mapping[str, Any]], report: ColumnReport) -> None:
    if task.fields is None:
        return
    named = {*report.fields, *report.metrics, *report.one_hot, *report.ignored}
    assert {column for row in rows for column in row} <= named
    assert not set(report.metrics) & report.ignored.keys()


def raw_rows(read: Any, path: Path) -> list[Mapping[str, Any]] | None:
    try:
        return list(read(path))
    except InputError as error:
        refusal = str(error)
    assert str(path) in refusal
    assert len(refusal) < 2000
    return None


def check_table(path: Path) -> None:
    read_and_account(Table(TableOptions(data=path)), path, raw_rows(read_table, path))


@fuzzed
@given(name=st.sampled_from(sorted(SEEDS)), data=st.binary(max_size=300))
def test_any_bytes(folder: Path, name: str, data: bytes) -> None:
    (folder / name).write_bytes(data)
    check_table(folder / name)


@pytest.mark.parametrize("name", SEEDS)
def test_damaged_tables(folder: Path, name: str) -> None:
    @fuzzed
    @given(data=damaged(st.just(SEEDS[name])))
    def check(data: bytes) -> None:
        (folder / name).write_bytes(data)
        check_table(folder / name)

    check()


@pytest.mark.parametrize(("name", "text"), [("t.jsonl.gz", JSON_LINES), ("t.csv.gz", CSV)])
def test_damaged_text_in_a_whole_archive(folder: Path, name: str, text: bytes) -> None:
    @fuzzed
    @given(data=damaged(st.just(text)))
    def check(data: bytes) -> None:
        (folder / name).write_bytes(gzip.compress(data, mtime=0))
        check_table(folder / name)

    check()


COLUMN = st.one_of(st.sampled_from([*sorted(PARTS), "half", "level", "kind", "", "a=b"]), ODD_TEXT)


@st.composite
def odd_rows(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Rows of which most are good, and all have odd columns."""
    rows = []
    for number in range(draw(st.integers(1, 5))):
        row: dict[str, Any] = dict(ROWS[number]) if draw(st.booleans()) else {"text": "a", "target": "b"}
        row |= draw(st.dictionaries(COLUMN, JSON_VALUE, max_size=3))
        rows.append(row)
    return rows


@fuzzed
@given(rows=odd_rows())
def test_json_lines_of_odd_values(folder: Path, rows: list[dict[str, Any]]) -> None:
    path = folder / "odd.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    check_table(path)


CELL = st.one_of(ODD_TEXT, ODD_NUMBER.map(str)).map(lambda text: '"' + text.replace('"', '""') + '"')


@fuzzed
@given(
    header=st.lists(COLUMN, min_size=1, max_size=4, unique=True),
    cells=st.lists(st.lists(CELL, min_size=6, max_size=6), min_size=1, max_size=5),
)
def test_a_csv_of_odd_cells(folder: Path, header: list[str], cells: list[list[str]]) -> None:
    path, names = folder / "odd.csv", ["text", "target", *(name for name in header if name not in ("text", "target"))]
    lines = [['"' + name.replace('"', '""') + '"' for name in names], *(row[: len(names)] for row in cells)]
    path.write_bytes("".join(",".join(line) + "\n" for line in lines).encode("utf-8", "surrogatepass"))
    check_table(path)


ARROW_TYPES = [
    pa.float16(), pa.decimal128(38, 2), pa.date32(), pa.date64(), pa.time32("s"), pa.time64("ns"), pa.duration("ns"),
    pa.timestamp("s"), pa.timestamp("ms", "Europe/Berlin"), pa.timestamp("us"), pa.timestamp("ns", "+02:00"),
    pa.uint64(), pa.int64(), pa.binary(),
]  # fmt: skip


@fuzzed
@given(kind=st.sampled_from(ARROW_TYPES), bits=st.binary(min_size=64, max_size=64))
def test_a_parquet_column_of_any_type_and_bits(folder: Path, kind: pa.DataType, bits: bytes) -> None:
    if pa.types.is_binary(kind):
        values = pa.array([bits[:8], None, bits[8:]], kind)
    else:
        values = pa.Array.from_buffers(kind, 3, [None, pa.py_buffer(bits)])
    table = pa.table({"text": ["a", "b", "c"], "target": ["d"] * 3, "value": values})
    path = folder / "typed.parquet"
    try:
        parquet.write_table(table, path)
    except pa.ArrowException:
        return
    check_table(path)


@fuzzed
@given(data=st.one_of(damaged(st.just(TASK_JSON.encode())), st.binary(max_size=200)))
def test_damaged_task_json(folder: Path, data: bytes) -> None:
    check_bigbench(folder, data)


@fuzzed
@given(name=st.sampled_from(sorted(QUESTION)), value=JSON_VALUE, examples=JSON_VALUE, whole=st.booleans())
def test_task_json_of_odd_values(folder: Path, name: str, value: object, examples: object, whole: bool) -> None:
    stored = (
        examples
        if whole
        else [QUESTION, QUESTION | {name: value, "input": QUESTION["input"]}, QUESTION | {name: value}]
    )
    check_bigbench(folder, json.dumps({"examples": stored}).encode())


def check_bigbench(folder: Path, data: bytes) -> None:
    path = folder / "task.json"
    path.write_bytes(data)
    read_and_account(Arithmetic(TaskOptions(data=path)), path, raw_rows(read_bigbench, path))


@fuzzed
@given(data=st.one_of(damaged(st.just(HANS)), st.binary(max_size=200)))
def test_damaged_pairs(folder: Path, data: bytes) -> None:
    path = folder / "pairs.txt"
    path.write_bytes(data)
    rows = raw_rows(read_tab_separated, path)
    if rows is not None:  # pairs on which annotators did not agree are no rows
        rows = [row for row in rows if row.get("gold_label", row.get("label", row.get("Label"))) not in NO_GOLD_LABEL]
    (folder / "train.txt").write_bytes(HANS)
    read_and_account(Hans(HansOptions(data=path, train_data=folder / "train.txt")), path, rows)
