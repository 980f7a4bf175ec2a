import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import fs, parquet

from skilljobs.errors import InputError
from skilljobs.plan.data_options import make_task
from skilljobs.plan.job_plan import plan_job
from skilljobs.spec import JobSpec
from skilljobs.tasks import parquet_tables
from skilljobs.tasks.parquet_tables import parquet_batches
from skilljobs.tasks.read_ahead import read_ahead
from tests.s3_server import s3_server


def table_of(rows: int, first: int = 0) -> pa.Table:
    numbers = np.arange(first, first + rows)
    return pa.table({
        "example_id": [f"row {number}" for number in numbers],
        "text": [f"What comes after {number}?" for number in numbers],
        "target": [f" {number + 1}" for number in numbers],
        "size": numbers % 7,
    })  # fmt: skip


@pytest.mark.parametrize("piece_bytes", [1, 2_000, 1 << 30])
def test_row_groups_are_read_in_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece_bytes: int) -> None:
    monkeypatch.setattr(parquet_tables, "PIECE_BYTES", piece_bytes)
    whole = table_of(500)
    for place, name in enumerate(("a", "b", "c")):
        part = whole.slice(200 * place, 200)
        parquet.write_table(part, tmp_path / f"{name}.parquet", row_group_size=17 + place)
    assert pa.Table.from_batches(parquet_batches(tmp_path, 100)).equals(whole)


def test_a_file_without_rows_adds_none(tmp_path: Path) -> None:
    parquet.write_table(table_of(0), tmp_path / "a.parquet")
    parquet.write_table(table_of(3), tmp_path / "b.parquet")
    assert pa.Table.from_batches(parquet_batches(tmp_path, 100)).equals(table_of(3))


def test_what_is_raised_ahead_is_raised_in_its_place() -> None:
    def failing() -> Iterator[int]:
        yield 3
        raise ValueError("the fourth")

    items = read_ahead([[1, 2], failing(), [5]])
    assert [next(items) for _ in range(3)] == [1, 2, 3]
    with pytest.raises(ValueError, match="the fourth"):
        next(items)
    assert _readers_end()


def test_parts_that_nobody_wants_any_more_are_not_read_on() -> None:
    made = []

    def endless() -> Iterator[int]:
        while True:
            made.append(1)
            yield len(made)

    items = read_ahead([endless(), endless(), endless(), endless()])
    assert next(items) >= 1
    items.close()  # type: ignore[attr-defined]
    assert _readers_end()
    assert len(made) < 50


def _readers_end() -> bool:
    deadline = time.monotonic() + 10
    while any(thread.name == "read ahead" for thread in threading.enumerate()):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def test_a_uri_is_of_tables_alone_and_holds_no_secret() -> None:
    with pytest.raises(InputError, match=r"--data s3://bucket/t.parquet: the task arithmetic reads local files alone"):
        make_task(JobSpec("arithmetic", data="s3://bucket/t.parquet"))
    with pytest.raises(InputError, match=r"--train-data holds a secret") as refused:
        make_task(JobSpec(data="s3://bucket/t.parquet", train_data="s3://key:hidden@bucket/t.parquet"))
    assert "hidden" not in str(refused.value)
    with pytest.raises(InputError, match=r"nowhere://bucket/t.parquet is not a place that can be reached"):
        list(make_task(JobSpec(data="nowhere://bucket/t.parquet")).rows())


def test_a_table_at_a_uri_is_that_of_its_files(tmp_path: Path) -> None:
    parquet.write_table(table_of(60), tmp_path / "t.parquet")
    places = [str(tmp_path / "t.parquet"), (tmp_path / "t.parquet").as_uri(), tmp_path.as_uri()]
    planned = [plan_job(JobSpec(data=place, model="tiny", soft_prompt="random")) for place in places]
    assert len({plan.examples_digest for plan in planned}) == 1
    (tmp_path / "t.csv").write_text("text,target\na,b\n")
    with pytest.raises(InputError, match=r"t\.csv is neither a \.parquet file nor a folder of such files"):
        list(make_task(JobSpec(data=(tmp_path / "t.csv").as_uri())).rows())


@pytest.mark.slow
def test_a_table_in_a_bucket_is_that_of_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("table", "train"):
        (tmp_path / name).mkdir()
        for place in range(5):
            part = table_of(40, 40 * place)
            parquet.write_table(part, tmp_path / name / f"part-{place}.parquet", row_group_size=9)
    with s3_server(tmp_path / "log") as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        bucket, _ = fs.FileSystem.from_uri("s3://bucket")
        for name in ("table", "train"):
            fs.copy_files(str(tmp_path / name), f"bucket/data/{name}", destination_filesystem=bucket)
        planned = [
            plan_job(JobSpec(data=f"{place}/table", train_data=train, model="tiny", soft_prompt="random"))
            for place in (str(tmp_path), "s3://bucket/data")
            for train in (None, f"{place}/train")
        ]
        digests = [plan.examples_digest for plan in planned]
        assert digests[:2] == digests[2:]
        assert digests[0] != digests[1]
        one = plan_job(JobSpec(data="s3://bucket/data/table/part-0.parquet", model="tiny", soft_prompt="random"))
        assert len(one.train) + len(one.validation) + len(one.test) == 40
        with pytest.raises(InputError, match=r"there is no file s3://bucket/data/nothing"):
            plan_job(JobSpec(data="s3://bucket/data/nothing", model="tiny"))
        with bucket.open_output_stream("bucket/data/table/part-9.parquet") as stream:
            stream.write(b"no such file")
        with pytest.raises(InputError, match=r"s3://bucket/data/table/part-9\.parquet cannot be read"):
            plan_job(JobSpec(data="s3://bucket/data/table", model="tiny"))
