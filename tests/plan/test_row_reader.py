"""Rows are read in columns, chunk by chunk, and spilled: what comes of them is what comes of each row by itself."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from skilljobs.errors import InputError
from skilljobs.plan import partition, row_conflicts, row_reader, row_sets
from skilljobs.plan.example_drawing import draw_examples
from skilljobs.plan.example_views import Chain
from skilljobs.plan.metric_choice import external_values
from skilljobs.plan.reading import read_rows
from skilljobs.plan.row_reader import RowReader
from skilljobs.spec import JobSpec
from skilljobs.spill import buckets, spilled_column, temporary_file
from skilljobs.store.examples import example_bytes, example_schema, examples_from
from skilljobs.tasks import example_chunks, row_files, table_columns
from skilljobs.tasks.base import Example, Task
from skilljobs.tasks.external_metrics import external_metrics
from skilljobs.tasks.table import Table, TableOptions
from skilljobs.tasks.table_columns import columnar
from tests.tables import random_rows, write_jsonl


class RowByRow(Table):
    """A table that is not read in columns, since it gives its rows itself."""

    def rows(self) -> Iterable[Mapping[str, Any]]:
        return super().rows()


class Given(Task):
    """A task whose examples are given."""

    name = "given"

    def __init__(self, examples: list[Example]) -> None:
        super().__init__()
        self.given = examples

    def rows(self) -> Iterable[Mapping[str, Any]]:
        return ({"place": place} for place in range(len(self.given)))

    def example(self, row: Mapping[str, Any], number: int) -> Example:
        return self.given[row["place"]]


@contextmanager
def small(size: int) -> Iterator[None]:
    """All that is read or kept at a time has `size` rows."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(row_reader, "CHUNK_ROWS", size)
        patch.setattr(row_files, "BATCH_ROWS", size)
        patch.setattr(table_columns, "PIECE_ROWS", max(1, size // 2))
        patch.setattr(partition, "BUCKET_ROWS", size)
        patch.setattr(partition, "GATHERED_BYTES", 200 * size)
        patch.setattr(buckets, "BUCKET_ROWS", size)
        patch.setattr(buckets, "BUFFERED_ROWS", 2 * size)
        patch.setattr(row_conflicts, "HASHES_AT_A_TIME", size)
        patch.setattr(spilled_column, "EXTENT_BYTES", 8 * size)
        for module in (spilled_column, row_sets):
            patch.setattr(module, "BLOCK_ROWS", 3 * size)
        patch.setattr(temporary_file, "IN_MEMORY", 16 * size)
        yield


def outcome(task: Task, limit: int | None = None) -> dict[str, Any]:
    """All that comes of the rows of a task."""
    try:
        reader = read_rows(task)
    except InputError as error:
        return {"error": str(error)}
    found: dict[str, Any] = {
        "examples": list(map(repr, reader.examples)),
        "bad": reader.bad,
        "columns": list(reader.columns),
        "ignored": list(task.ignored_columns.items()),
    }
    if len(reader.rows_of("test")):
        drawn = draw_examples(JobSpec(data="-", limit=limit, shard_size=3), reader, None)
        groups = [drawn.train, drawn.validation, *drawn.shards]
        found["digest"] = drawn.examples.digest(list(map(len, groups)))
        found["shards"] = [[example.example_id for example in shard] for shard in groups]
        found["halves"] = [{example.half for example in shard} for shard in drawn.shards]
        schema = example_schema(Chain([drawn.test, drawn.train, drawn.validation]))
        found["files"] = [bytes(example_bytes(shard, schema)) for shard in groups]
        found["columns of the test"] = drawn.test.external_columns()
        found["repeat"] = drawn.units_repeat
        values = external_values(external_metrics(drawn.test), drawn.tested_rows)
        drawn.put_in_sampled_order(values)
        found["values"] = {name: of[:].tobytes() for name, of in values.items()}
    return found


TEXTS = st.sampled_from(["a", 'é "q"', "same", "100 %", "", None])
VALUES = {
    "float": st.none() | st.floats(-2, 2, width=16) | st.sampled_from([float("nan"), float("inf"), 1e200]),
    "int": st.none() | st.integers(-3, 3),
    "bool": st.booleans(),
    "kind": st.sampled_from(["x", "y", None]),
    "half": st.just(1),
    "tags": st.none() | st.just([1, 2]),
    "unit": st.sampled_from(["u", "v", "w", None]),
    "split": st.sampled_from(["train", "test", "validation", None, None, None]),
    "example_id": st.none() | st.integers(0, 60).map(str),
}
TYPES = {
    "float": pa.float64(), "int": pa.int32(), "bool": pa.bool_(), "kind": pa.dictionary(pa.int8(), pa.string()),
    "half": pa.int8(), "tags": pa.list_(pa.int64()), "unit": pa.string(), "split": pa.string(), "text": pa.string(),
    "example_id": pa.large_string(), "target": pa.string(), "choices": pa.list_(pa.string()), "answer": pa.int64(),
}  # fmt: skip
ANSWERS: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [{"target": " t"}] * 6
    + [{"choices": [" a", " b"], "answer": 1}] * 6
    + [{"choices": ["a", "a"], "answer": 0}, {"choices": ["a", "b"], "answer": 2}, {"target": ""}, {"answer": 1}]
)


@st.composite
def tables(draw: st.DrawFn) -> list[dict[str, Any]]:
    names = draw(st.lists(st.sampled_from(sorted(VALUES)), unique=True, max_size=5))
    row: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
        {"text": st.just("usual") | TEXTS, **{name: VALUES[name] for name in names}}
    )
    rows = draw(st.lists(st.tuples(row, ANSWERS), min_size=1, max_size=40))
    return [values | answer for values, answer in rows]


@settings(max_examples=30, deadline=None)
@given(rows=tables(), size=st.sampled_from([1, 3, 8]), limit=st.none() | st.integers(4, 9))
def test_columns_in_chunks_give_what_rows_give(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]], size: int, limit: int | None
) -> None:
    names = list(dict.fromkeys(name for row in rows for name in row))
    table = pa.table({name: pa.array([row.get(name) for row in rows], TYPES[name]) for name in names})
    path = tmp_path_factory.getbasetemp() / "table.parquet"
    parquet.write_table(table, path)
    options = TableOptions(data=path)
    assert columnar(Table(options), False) is not None
    assert columnar(RowByRow(options), False) is None
    expected = outcome(RowByRow(options), limit)
    with small(size):
        assert outcome(Table(options), limit) == expected
        assert outcome(RowByRow(options), limit) == expected


def test_most_rows_of_a_usual_table_are_made_in_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [row | {"text": "" if place == 700 else row["text"]} for place, row in enumerate(random_rows(2000))]
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    made: list[int] = []
    example = Table.example

    def counted(task: Table, row: Mapping[str, Any], number: int) -> Example:
        made.append(number)
        return example(task, row, number)

    monkeypatch.setattr(Table, "example", counted)
    reader = read_rows(Table(TableOptions(data=tmp_path / "t.parquet")))
    assert (len(reader.examples), [bad.number for bad in reader.bad]) == (1999, [701])
    assert made == list(range(513, 1025)), "only the piece with the bad row is looked at row by row"


IDS = st.tuples(st.integers(0, 12), st.integers(0, 4), st.sampled_from(["train", "test"]))


@pytest.mark.parametrize("hashes", [None, 1, 3])
@settings(max_examples=30, deadline=None)
@given(rows=st.lists(IDS, min_size=1, max_size=30), size=st.sampled_from([1, 4, 100]))
def test_conflicts_are_those_of_a_dictionary_of_all_whatever_the_hashes(
    hashes: int | None, rows: list[tuple[int, int, str]], size: int
) -> None:
    """`hashes`: how many different ones there are; texts of one hash are told apart."""
    examples = [Example(f"i{i}", f"u{unit}", split, "t", target="x") for i, unit, split in rows]
    taken: dict[str, int] = {}
    split_of: dict[str, tuple[str, int]] = {}
    expected: list[tuple[int, str]] = []
    for number, e in enumerate(examples, start=1):
        if e.example_id in taken:
            expected.append((number, f"its example_id '{e.example_id}' is that of row {taken[e.example_id]}"))
            continue
        split, first = split_of.setdefault(e.unit, (e.split, number))
        if split != e.split:
            expected.append((number, f"its unit '{e.unit}' is in {e.split} here and in {split} in row {first}"))
        else:
            taken[e.example_id] = number
    real = example_chunks.hashes
    with pytest.MonkeyPatch.context() as patch, small(size):
        if hashes is not None:
            patch.setattr(example_chunks, "hashes", lambda texts, *parts: real(texts, *parts) % np.uint64(hashes))
        reader = read_rows(Given(examples))
        test = reader.rows_of("test")
        kept = list(reader.examples)
        units = [e.unit for e in kept if e.split == "test"]
        assert reader.units_repeat(test) == (len(set(units)) < len(units))
    assert [(bad.number, bad.reason) for bad in reader.bad] == expected
    assert {e.example_id for e in kept} == taken.keys()


def test_a_column_whose_type_shows_late_is_one_column(tmp_path: Path) -> None:
    """Whole numbers first, then fractions, then none, and a text in the end."""
    values: list[Any] = [*range(10), *(n + 0.5 for n in range(10)), *[None] * 10, "word"]
    rows = [{"text": f"{n}:", "target": " x", "level": value} for n, value in enumerate(values)]
    rows[5]["late"] = 1
    path = write_jsonl(tmp_path / "t.jsonl", rows)
    expected = outcome(Table(TableOptions(data=path)))
    assert [bad.reason for bad in expected["bad"]] == ["`level` is 'word', and most rows have numbers there"]
    with small(4):
        assert outcome(Table(TableOptions(data=path))) == expected
    reader = read_rows(Table(TableOptions(data=path)))
    assert [type(e.metrics["level"]) for e in reader.examples] == [type(value) for value in values[:-1]]
    schema = example_schema(reader.examples)
    assert (schema.field("level").type, schema.field("late").type) == (pa.float64(), pa.int64())
    assert [e.metrics["level"] for e in examples_from(bytes(example_bytes(reader.examples, schema)))] == values[:-1]


def test_quarantined_and_rewritten_examples_keep_their_rows() -> None:
    examples = [Example(f"i{n}", f"i{n}", "test", f"t{n}", target="x", metrics={"m": n, "o": 1}) for n in range(20)]
    with small(6):
        reader: RowReader = read_rows(Given(examples))
        reader.quarantine({"i13": "first", "i2": "second"})
        reader.ignore_columns(["o"])
        reader.rewrite(lambda chunk, kept: chunk.with_texts([f"<{text}>" for text in chunk.strings("text")]))
    assert [(bad.number, bad.reason) for bad in reader.bad] == [(14, "first"), (3, "second")]
    kept = [n for n in range(20) if n not in (2, 13)]
    assert [(e.text, e.metrics) for e in reader.examples] == [(f"<t{n}>", {"m": n}) for n in kept]
    assert reader.examples[-1].example_id == "i19"
    assert [e.example_id for e in reader.examples[3:5]] == ["i4", "i5"]
    with pytest.raises(IndexError):
        reader.examples[18]


def test_a_data_set_of_the_hub_is_read_in_columns_like_a_file(tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    rows = [row | {"tags": [1], "kind": None if place < 9 else "k"} for place, row in enumerate(random_rows(60))]
    (tmp_path / "set").mkdir()
    path = tmp_path / "set" / "train.parquet"
    parquet.write_table(pa.Table.from_pylist(rows), path)
    options = TableOptions(data=Path(f"hub:{tmp_path / 'set'}"))
    assert columnar(Table(options), False) is not None
    with small(8):
        found = outcome(Table(options))
    assert found == outcome(RowByRow(options)) == outcome(Table(TableOptions(data=path)))
    assert found["ignored"] == [("tags", "list")]
