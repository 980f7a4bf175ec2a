import io
from pathlib import Path

import pytest

from skilljobs.store.files import Folder


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path / "run"))
    folder.write("a/b.bin", b"first")
    with pytest.raises(TypeError), folder.stream("a/b.bin") as file:
        file.writelines([b"sec", 7])  # type: ignore[list-item]
    assert folder.read("a/b.bin") == b"first"
    assert [path.name for path in (tmp_path / "run" / "a").iterdir()] == ["b.bin"]
    with folder.stream("a/b.bin") as file:
        file.write(b"second")
        assert folder.read("a/b.bin") == b"first"
    assert (folder.read("a/b.bin"), folder.size("a/b.bin")) == (b"second", 6)


def test_names_leave_temporary_files_out(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path))
    folder.write("shards/x-1.parquet", b"")
    (tmp_path / "shards" / ".x-2.parquet.tmp").touch()
    (tmp_path / "shards" / ".hidden.parquet").touch()
    assert folder.names("shards", ".parquet") == ["shards/x-1.parquet"]
    assert folder.names("nowhere", "") == []
    assert folder.folders() == ["shards"]
    folder.delete("shards/x-1.parquet")
    folder.delete("shards/x-1.parquet")
    assert not folder.exists("shards/x-1.parquet")
    with pytest.raises(FileNotFoundError):
        folder.read("shards/x-1.parquet")


def test_a_uri_and_a_path_are_the_same_folder(tmp_path: Path) -> None:
    Folder(tmp_path.as_uri()).write("x", io.BytesIO(b"y").getvalue())
    assert Folder(str(tmp_path)).read("x") == b"y"
