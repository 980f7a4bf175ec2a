"""A data file that is damaged, foreign or odd is refused in one sentence that says where."""

import gzip
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from skilljobs.errors import InputError
from skilljobs.plan.reading import read_examples, read_rows
from skilljobs.tasks import text_files
from skilljobs.tasks.arithmetic import Arithmetic
from skilljobs.tasks.base import TaskOptions
from skilljobs.tasks.hans import Hans, HansOptions
from skilljobs.tasks.skillmix import SkillMix, SkillMixOptions
from skilljobs.tasks.table import Table, TableOptions
from skilljobs.tasks.text_files import lines_of, read_text

ROW = json.dumps({"text": "a:", "target": " b", "level": 1}) + "\n"
CSV = "text,target,level\na:, b,1\n"
HANS = "gold_label\tsentence1\tsentence2\tpairID\theuristic\tsubcase\ttemplate\n"


def damaged_inside(packed: bytes) -> bytes:
    return packed[:20] + b"\xff\xff\xff\xff" + packed[24:]


def cut_off(packed: bytes) -> bytes:
    return packed[:-12]


def of_another_sum(packed: bytes) -> bytes:
    return packed[:-8] + bytes(8)


def not_packed(packed: bytes) -> bytes:
    return gzip.decompress(packed)


@pytest.mark.parametrize("damage", [damaged_inside, cut_off, of_another_sum, not_packed])
@pytest.mark.parametrize(("name", "text"), [("t.jsonl.gz", ROW), ("t.csv.gz", CSV), ("t.tsv.gz", CSV)])
def test_a_damaged_gzip_file_is_named(tmp_path: Path, name: str, text: str, damage: Callable[[bytes], bytes]) -> None:
    path = tmp_path / name
    path.write_bytes(damage(gzip.compress((text * 50).encode())))
    with pytest.raises(InputError, match=r"t\.\w+\.gz cannot be read: "):
        read_rows(Table(TableOptions(data=path)))


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("t.jsonl", ROW.encode() + b'{"text": "\xff"}', "line 2 holds the byte 0xff, so it is not UTF-8 text"),
        ("t.csv", CSV.encode() + b"\xfe,b,1", "line 3 holds the byte 0xfe, so it is not UTF-8 text"),
        ("t.csv", b"te\xffxt,target\na,b\n", "line 1 holds the byte 0xff, so it is not UTF-8 text"),
        ("t.csv", CSV.encode() + b"a,b,\xff", "line 3 holds the byte 0xff, so it is not UTF-8 text"),
        ("t.csv", CSV.encode() + b"a\0,b,1", "line 3 holds a NUL character, so it is not a text file"),
        ("t.csv", CSV.encode("utf-16"), "line 1 holds the byte 0xff, so it is not UTF-8 text"),
        ("t.tsv", b"text\ttarget\na\t\xff\n", "line 2 holds the byte 0xff, so it is not UTF-8 text"),
        ("t.jsonl", f"{ROW}{'[' * 100_000}".encode(), "line 2 is not JSON that can be read: it is nested too deeply"),
        ("t.jsonl", f'{ROW}{{"a": {"9" * 5000}}}'.encode(), "line 2 has a number of more than 4,300 digits"),
        ("t.csv", b"", "has no rows"),
        ("t.csv", b"\n \n", "has no rows"),
        ("t.jsonl.gz", b"", "has no rows"),
        ("t.parquet", b"", "cannot be read: Parquet file size is 0 bytes"),
    ],
)
def test_the_line_that_is_no_text_is_named(tmp_path: Path, name: str, data: bytes, reason: str) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(InputError) as refused:
        read_rows(Table(TableOptions(data=path)))
    assert str(refused.value).startswith(str(path))
    assert str(refused.value).endswith(reason)


def test_a_directory_of_no_parquet_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").mkdir()
    with pytest.raises(InputError, match=r"t\.csv is a folder without Parquet files"):
        read_rows(Table(TableOptions(data=tmp_path / "t.csv")))


def test_lines_may_end_in_any_way_and_a_mark_may_come_first(tmp_path: Path) -> None:
    for text in (CSV, CSV.replace("\n", "\r\n"), f"\ufeff{CSV}"):
        (tmp_path / "t.csv").write_bytes(text.encode())
        assert read_examples(Table(TableOptions(data=tmp_path / "t.csv")), 0)[0][0].target == " b"
    (tmp_path / "t.jsonl").write_bytes(f"\ufeff{ROW}".replace("\n", "\r\n").encode())
    assert len(read_examples(Table(TableOptions(data=tmp_path / "t.jsonl")), 0)[0]) == 1


@pytest.mark.parametrize("damage", ["end", "middle", "values"])
def test_a_damaged_parquet_file_is_named(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "t.parquet"
    parquet.write_table(pa.table({"text": ["a"] * 100, "target": ["b"] * 100, "level": range(100)}), path)
    data = path.read_bytes()
    path.write_bytes({"end": data[:-20], "middle": data[:100] + data[-200:], "values": data[:60] + data[100:]}[damage])
    with pytest.raises(InputError, match=r"t\.parquet cannot be read: ") as refused:
        read_rows(Table(TableOptions(data=path)))
    assert "\n" not in str(refused.value)


def test_moments_to_the_nanosecond_are_read(tmp_path: Path) -> None:
    moment = pa.array([1_700_000_000_123_456_789], pa.timestamp("ns", "UTC"))
    parquet.write_table(pa.table({"text": ["a"], "target": ["b"], "at": moment}), tmp_path / "t.parquet")
    example = read_rows(Table(TableOptions(data=tmp_path / "t.parquet"))).examples[0]
    assert example.metrics["at"] == datetime(2023, 11, 14, 22, 13, 20, 123456, UTC).timestamp()


QUESTION: dict[str, object] = {"input": "What is 2 plus 3?", "target": "5", "target_scores": {"5": 1, "6": 0}}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * 100_000, "is not a BIG-bench task.json: it is not JSON that can be read: it is nested too deeply"),
        (f'{{"examples": [{"9" * 5000}]}}', "it has a number of more than 4,300 digits"),
        ("", "it is not JSON"),
        ("[1]", "has no list `examples`"),
        ('{"examples": 5}', "has no list `examples`"),
        ('{"examples": {"a": 1}}', "has no list `examples`"),
        (json.dumps({"examples": [QUESTION, 5]}), "number 2 of its `examples` is not a JSON object"),
        ('{"examples": [{"target_scores": {"5": 1, "5": 0}}]}', "has '5' more than once"),
    ],
)
def test_a_foreign_task_json_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "task.json").write_text(text)
    with pytest.raises(InputError, match=r"task\.json") as refused:
        read_rows(Arithmetic(TaskOptions(data=tmp_path / "task.json")))
    assert reason in str(refused.value)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"input": 5}, "`input` is 5, which is not a text"),
        ({"target_scores": [1]}, "`target_scores` is [1], which does not give choices their scores"),
    ],
)
def test_a_foreign_question_is_a_bad_row(tmp_path: Path, change: dict[str, object], reason: str) -> None:
    (tmp_path / "task.json").write_text(json.dumps({"examples": [QUESTION, QUESTION | change]}))
    assert read_rows(Arithmetic(TaskOptions(data=tmp_path / "task.json"))).bad[0].reason == reason


def test_a_sentence_that_is_no_text_is_a_bad_row(tmp_path: Path) -> None:
    names = HANS.rstrip().split("\t")
    good: dict[str, object] = {**dict.fromkeys(names, "a"), "gold_label": "entailment"}
    rows = [good | {"sentence1": value} for value in ("b", 5)]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    bad = read_rows(Hans(HansOptions(data=tmp_path / "pairs.jsonl"))).bad
    assert [row.reason for row in bad if row.source.endswith("pairs.jsonl")] == ["a sentence is 5, which is not a text"]


@pytest.mark.parametrize("skills", [None, [], 5])
def test_a_text_without_skills_is_a_bad_row_in_either_view(tmp_path: Path, skills: object) -> None:
    good = {"skills": ["irony"], "topic": "bread", "text": "Nice.", "skill_points": [1]}
    rows = [good, good | {"skills": skills}, good | {"text": 5}]
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for view in ("asked", "shown"):
        reader = read_rows(SkillMix(SkillMixOptions(data=tmp_path / "texts.jsonl", view=view)))
        assert [row.number for row in reader.bad] == [2, 3], view


@given(data=st.binary(max_size=40) | st.text("a\n\r\0é😀", max_size=20).map(str.encode), size=st.integers(1, 4))
def test_a_file_is_checked_in_blocks_as_if_it_were_whole(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, size: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "blocks.txt"
    path.write_bytes(data)
    nul, expected = data.find(b"\0"), None
    if nul >= 0:
        line = data.count(b"\n", 0, nul) + 1
        expected = f"{path}: line {line} holds a NUL character, so it is not a text file"
    try:
        data.decode()
    except UnicodeDecodeError as error:
        if nul < 0 or error.start < nul:
            line, byte = data.count(b"\n", 0, error.start) + 1, data[error.start]
            expected = f"{path}: line {line} holds the byte {byte:#04x}, so it is not UTF-8 text"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_files, "BLOCK_BYTES", size)
        if expected is None:
            assert "\n".join(lines_of(path)) == read_text(path).removesuffix("\n")
            return
        with pytest.raises(InputError) as refused:
            next(lines_of(path))
    assert str(refused.value) == expected
