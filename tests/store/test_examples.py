from pathlib import Path

import pytest
from pyarrow import parquet

from skilljobs.plan.partition import Partition
from skilljobs.store import examples as stored
from skilljobs.store.examples import example_schema, examples_from, write_examples_file
from skilljobs.store.files import Folder
from skilljobs.tasks.base import Example


@pytest.mark.parametrize(("row_group", "groups"), [(100, 1), (7, 3)])
def test_a_file_of_many_examples_is_written_in_row_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, row_group: int, groups: int
) -> None:
    monkeypatch.setattr(stored, "ROW_GROUP", row_group)
    monkeypatch.setattr("skilljobs.plan.partition.BUCKET_ROWS", 4)
    written = [Example(str(n), str(n), "train", f"t{n}", target="x", metrics={"m": n}) for n in range(20)]
    view = Partition.of([written]).view(0, 20)
    write_examples_file(Folder(str(tmp_path)), "e.parquet", view, example_schema(view), {})
    assert parquet.ParquetFile(tmp_path / "e.parquet").num_row_groups == groups
    assert examples_from((tmp_path / "e.parquet").read_bytes()) == written
