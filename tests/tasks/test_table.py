import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import csv, parquet

from skilljobs.errors import InputError
from skilljobs.plan.data_options import make_task
from skilljobs.plan.job_plan import plan_job
from skilljobs.plan.reading import read_examples
from skilljobs.spec import JobSpec
from skilljobs.store.examples import example_bytes, example_schema, examples_of
from skilljobs.tasks.base import Example
from skilljobs.tasks.external_kinds import check_columns
from skilljobs.tasks.external_metrics import external_metrics, group_populations
from skilljobs.tasks.table import Table, TableOptions
from tests.tables import random_rows, write_jsonl


def read(path: Path, max_bad: float = 0.0, **options: Any) -> list[Example]:
    return read_examples(Table(TableOptions(data=path, **options)), max_bad)[0]


def test_the_same_table_in_any_format(tmp_path: Path) -> None:
    rows = random_rows(20)
    expected = read(write_jsonl(tmp_path / "t.jsonl", rows))
    flat = [row | {"choices": json.dumps(row["choices"])} for row in rows]
    csv.write_csv(pa.Table.from_pylist(flat), tmp_path / "t.csv")
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    assert read(tmp_path / "t.csv") == expected
    assert read(tmp_path / "t.parquet") == expected


def parts_in(folder: Path, rows: list[dict[str, Any]], names: tuple[str, ...] = ("b", "a")) -> Path:
    """A folder of Parquet files, of which each but the last has seven rows."""
    folder.mkdir()
    for place, name in enumerate(sorted(names)):
        part = rows[7 * place : 7 * (place + 1)] if place < len(names) - 1 else rows[7 * place :]
        parquet.write_table(pa.Table.from_pylist(part), folder / f"{name}.parquet")
    return folder


def test_a_folder_of_parquet_files_is_one_table(tmp_path: Path) -> None:
    rows = [dict(row) for row in random_rows(20)]
    expected = read(write_jsonl(tmp_path / "t.jsonl", rows))
    folder = parts_in(tmp_path / "parts", rows, ("part-2", "part-10", "part-1"))
    (folder / "_SUCCESS").touch()
    (folder / ".hidden").touch()
    assert sorted(path.name for path in folder.glob("part*")) == ["part-1.parquet", "part-10.parquet", "part-2.parquet"]
    assert read(folder) == expected
    planned = [
        plan_job(JobSpec(data=str(of), model="tiny", soft_prompt="random")) for of in (folder, tmp_path / "t.jsonl")
    ]
    assert planned[0].examples_digest == planned[1].examples_digest


def test_a_folder_that_is_no_table_is_refused(tmp_path: Path) -> None:
    rows = [dict(row) for row in random_rows(14)]
    lacking = [{name: value for name, value in row.items() if name != "level"} for row in rows[7:]]
    folder = parts_in(tmp_path / "parts", [*rows[:7], *lacking])
    with pytest.raises(InputError, match=r"parts: a.parquet has the column 'level', and b.parquet has not"):
        read(folder)
    (folder / "b.parquet").write_bytes((folder / "a.parquet").read_bytes()[:-9])
    with pytest.raises(InputError, match=r"b.parquet cannot be read"):
        read(folder)
    (folder / "c.csv").touch()
    with pytest.raises(InputError, match=r"Parquet files only, and not 'c.csv'"):
        read(folder)
    (tmp_path / "deep" / "split=train").mkdir(parents=True)
    with pytest.raises(InputError, match=r"and not 'split=train'"):
        read(tmp_path / "deep")
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match=r"none is a folder without Parquet files"):
        read(tmp_path / "none")
    with pytest.raises(InputError, match=r"none is a directory, not a file"):
        make_task(JobSpec("arithmetic", data=str(tmp_path / "none")))


def test_columns_of_the_user_become_metrics(tmp_path: Path) -> None:
    found = read(write_jsonl(tmp_path / "t.jsonl", random_rows(50)))
    metrics = {metric.name: metric for metric in external_metrics(found)}
    assert list(metrics) == ["words", "level", "banana", "kind=a", "kind=b"]
    assert metrics["level"].nullable
    assert not metrics["banana"].nullable
    assert metrics["kind=a"].value(found[0]) == float(found[0].metrics["kind"] == "a")
    assert [p.name for p in group_populations(found, "banana")] == ["banana=false", "banana=true"]
    with pytest.raises(InputError, match="'nope'"):
        group_populations(found, "nope")


ANSWERS = {" b": 0, "c": 1}


@pytest.mark.parametrize("answer", ANSWERS)
def test_the_answer_may_be_the_text_of_a_choice(answer: str) -> None:
    assert Table().example({"text": "a:", "choices": [" b", " c"], "answer": answer}, 1).answer == ANSWERS[answer]


def test_a_text_that_is_a_choice_is_no_index() -> None:
    """What is meant by 0 among the choices 1 and 0 is the second one."""
    assert Table().example({"text": "a:", "choices": [" 1", " 0"], "answer": "0"}, 1).answer == 1
    assert Table().example({"text": "a:", "choices": [" 1", " 0"], "answer": 0}, 1).answer == 0


GOOD = {"text": "a:", "choices": [" b", " c"], "answer": 1}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (GOOD | {"answer": 2}, "`answer` is 2, out of range for 2 choices"),
        (GOOD | {"answer": None}, "it has `choices` but no `answer`"),
        (GOOD | {"choices": [" b"], "answer": 0}, "it has 1 choices"),
        (GOOD | {"text": ""}, "`text` is empty"),
        ({"choices": [" b", " c"], "answer": 1}, "it has no column 'text'"),
        ({"text": "a:"}, "neither `choices`"),
        (GOOD | {"split": "dev"}, "`split` is 'dev'"),
        (GOOD | {"example_id": "row-0"}, "is that of row 1"),
        (GOOD | {"level": float("inf")}, "`level` is inf"),
        (GOOD | {"text": None}, "`text` is null"),
        (GOOD | {"choices": [" b", None]}, "one of its `choices` is null"),
        (GOOD | {"answer": float("inf")}, "`answer` is inf, which is not an index"),
        (GOOD | {"answer": "x"}, "`answer` is 'x', which is not an index"),
        (GOOD | {"choices": [" b", " c", " b"]}, "two of its `choices` are the same: ' b'"),
        (GOOD | {"choices": "[" * 100_000}, "`choices` is not JSON that can be read: it is nested too deeply"),
        (GOOD | {"choices": f"[{'9' * 5000}]"}, "`choices` has a number of more than 4,300 digits"),
        (GOOD | {"level": 1e308}, "`level` is 1e+308, which is too large to be squared"),
        (GOOD | {"level": {"a": -1e101}}, "`level` is -1e+101, which is too large to be squared"),
        ({"text": "a:", "target": " b", "answer": 2**31}, "it has an `answer`, 2147483648, but no `choices`"),
        (GOOD | {"level": 10**4000}, "00000000000, which is beyond 64 bits"),
        (GOOD | {"level": 2**70}, "beyond 64 bits"),
        (GOOD | {"text": "\ud800"}, "surrogates not allowed"),
        (GOOD | {"level\ud800": 1}, "surrogates not allowed"),
        (GOOD | {"kind": "\ud800"}, "surrogates not allowed"),
        (GOOD | {"level": {"\ud800": 1}}, "surrogates not allowed"),
        (GOOD | {"example_id": "\ud800", "unit": "u"}, "surrogates not allowed"),
    ],
)
def test_a_bad_row_is_named_by_number_and_reason(tmp_path: Path, row: dict[str, Any], reason: str) -> None:
    path = write_jsonl(tmp_path / "t.jsonl", [*random_rows(2), row])
    with pytest.raises(InputError) as refused:
        read(path)
    assert "row 3 is bad" in str(refused.value)
    assert len(str(refused.value)) < 600
    assert reason in str(refused.value)
    kept, bad = read_examples(Table(TableOptions(data=path)), 0.5)
    assert (len(kept), bad[0].number) == (2, 3)


def test_a_unit_in_two_splits_is_refused(tmp_path: Path) -> None:
    rows = [GOOD | {"unit": "u", "split": split} for split in ("train", "test")]
    with pytest.raises(InputError, match="unit 'u' is in test here and in train in row 1"):
        read(write_jsonl(tmp_path / "t.jsonl", rows))


@pytest.mark.parametrize(("name", "text", "word"), [
    ("t.jsonl", "{", "line 1 is not JSON"), ("t.jsonl", "[1]", "line 1 is not a JSON object"),
    ("t.xlsx", "x", "is not a .jsonl"), ("t.parquet", "x", "cannot be read"), ("t.jsonl", "", "has no rows"),
])  # fmt: skip
def test_a_broken_file_is_named(tmp_path: Path, name: str, text: str, word: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(InputError, match=word) as refused:
        read(path)
    assert str(path) in str(refused.value)


def test_a_csv_keeps_text_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("text,target,level,kind\na:, 007,1,NA\nb:,nan,,x\n")
    first, second = read(path)
    assert (first.target, second.target) == (" 007", "nan")
    assert (first.metrics, second.metrics) == ({"level": 1, "kind": "NA"}, {"level": None, "kind": "x"})


def test_a_column_of_two_kinds_is_refused_and_whole_floats_are_integers(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="row 3 is bad: `level` is 'one', and most rows have numbers there"):
        read(write_jsonl(tmp_path / "t.jsonl", [GOOD | {"level": value} for value in (1, 2.5, "one")]))
    numbers = read(write_jsonl(tmp_path / "n.jsonl", [GOOD | {"level": value} for value in (1, 2.5, 2, 2.0)]))
    check_columns(numbers)
    stored = examples_of(parquet.read_table(pa.BufferReader(example_bytes(numbers, example_schema(numbers)))))
    for population in group_populations(numbers, "level"):
        assert [population.has(e) for e in numbers] == [population.has(e) for e in stored]
    assert [p.name for p in group_populations(stored, "level")] == ["level=1", "level=2", "level=2.5"]


def test_columns_may_have_other_names(tmp_path: Path) -> None:
    rows = random_rows(20)
    names = {"text": "input", "choices": "options", "answer": "gold", "example_id": "key"}
    renamed = [{names.get(name, name): value for name, value in row.items()} for row in rows]
    expected = read(write_jsonl(tmp_path / "t.jsonl", rows))
    options: dict[str, Any] = {
        "text_column": "input",
        "choices_column": "options",
        "answer_column": "gold",
        "id_column": "key",
    }
    assert read(write_jsonl(tmp_path / "r.jsonl", renamed), **options) == expected
    flat = pa.Table.from_pylist([row | {"options": json.dumps(row["options"])} for row in renamed])
    csv.write_csv(flat, tmp_path / "r.csv")
    assert read(tmp_path / "r.csv", **options) == expected
    with pytest.raises(InputError, match="it has no column 'gold'"):
        read(tmp_path / "t.jsonl", answer_column="gold")


def test_with_rows_to_train_on_all_others_are_tested(tmp_path: Path) -> None:
    rows = random_rows(60)
    data, training = write_jsonl(tmp_path / "t.jsonl", rows), write_jsonl(tmp_path / "n.jsonl", random_rows(60, seed=1))
    found = read(data, train_data=training)
    assert [e.split for e in found[:60]] == ["test"] * 60
    assert {e.split for e in found[60:]} == {"train", "validation"}
    assert {e.example_id for e in found[60:]} == {f"train/row-{n}" for n in range(60)}
    leaking = write_jsonl(tmp_path / "l.jsonl", [row | {"unit": "row-0", "example_id": "new"} for row in rows[:1]])
    with pytest.raises(InputError, match=r"l\.jsonl: row 1 is bad: its unit 'row-0' is in (train|validation) here"):
        read(data, train_data=leaking)


def test_a_number_among_named_values_is_a_bad_row(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "t.jsonl", [GOOD | {"level": value} for value in ({"a": 1}, {"a": 2}, 3)])
    with pytest.raises(InputError, match="row 3 is bad: `level` is 3, and most rows have named values there"):
        read(path)


def test_two_columns_that_would_be_stored_under_one_name_are_refused(tmp_path: Path) -> None:
    rows = [GOOD | {"level": {"a": n}, "level=a": None} for n in range(3)]
    with pytest.raises(InputError, match="the columns 'level' and 'level=a' both make a column 'level=a': rename one"):
        check_columns(read(write_jsonl(tmp_path / "t.jsonl", rows)))


@pytest.mark.parametrize(
    ("options", "missing"), [({"text_column": "question"}, "question"), ({"unit_column": "pair"}, "pair"), ({}, "text")]
)
@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_a_column_that_no_row_has_is_named_at_once(
    kind: str, options: dict[str, Any], missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Table, "example", lambda *_: pytest.fail("no row need be looked at"))
    rows = [{("words" if missing == "text" else "text"): "a:", "target": " b", "level": n} for n in range(20)]
    path = tmp_path / f"t.{kind}"
    (parquet.write_table if kind == "parquet" else csv.write_csv)(pa.Table.from_pylist(rows), path)
    with pytest.raises(InputError, match=rf"t\.{kind} has no column '{missing}'; it has (text|words), target, level$"):
        read(path, **options)
