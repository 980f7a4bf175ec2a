import os

import pyarrow as pa
import pytest

from skilljobs.errors import InputError
from skilljobs.spill import spilled_tables
from skilljobs.spill.spilled_tables import SpilledTables
from skilljobs.spill.temporary_file import TemporaryFile


@pytest.mark.parametrize("in_memory", [1, 1 << 20])
def test_tables_come_back_as_they_were(monkeypatch: pytest.MonkeyPatch, in_memory: int) -> None:
    monkeypatch.setattr(spilled_tables, "IN_MEMORY", in_memory)
    kept = SpilledTables()
    numbers = pa.table(
        {"n": pa.array([1, None]), "t": ["a", "é"]}, schema=pa.schema([("n", pa.int64()), ("t", pa.string())])
    )
    words = pa.table({"w": ["x"]}).replace_schema_metadata({"key": "value"})
    assert [kept.add(table) for table in (numbers, words, numbers.slice(1))] == [0, 1, 2]
    assert (kept.read(2).to_pylist(), kept.read(0)) == ([{"n": None, "t": "é"}], numbers)
    assert kept.read(1).schema.metadata == {b"key": b"value"}
    assert [table.num_rows for table in kept.joined([0, 2, 1])] == [3, 1]


def test_a_full_disk_is_named_with_what_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def seek(self, place: int) -> None: ...
        def close(self) -> None: ...
        def write(self, data: bytes) -> None:
            raise OSError(28, os.strerror(28))

    monkeypatch.setattr("tempfile.SpooledTemporaryFile", lambda max_size: Full())
    with pytest.raises(InputError, match=r"kept in the folder for temporary files, .* \(TMPDIR names another one\)"):
        SpilledTables().add(pa.table({"n": [1]}))


def test_bytes_that_are_missing_are_told() -> None:
    file = TemporaryFile(1)
    file.append(b"1234")
    with pytest.raises(InputError, match=r"cannot be kept .*: 2 bytes are missing"):
        file.read(2, 4)
