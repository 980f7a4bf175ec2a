"""Old temporary files are deleted, and nothing else."""

import os
import time
from pathlib import Path

from skilljobs.store.files import Folder
from skilljobs.store.sweeping import OLD_SECONDS, sweep


def test_only_old_temporary_files_go(tmp_path: Path) -> None:
    (tmp_path / "shards").mkdir()
    old = tmp_path / "shards" / f".sums-00000.parquet.{'a' * 32}.tmp"
    young = tmp_path / "shards" / f".sums-00001.parquet.{'b' * 32}.tmp"
    kept = [tmp_path / "run.json", tmp_path / "mine.tmp", tmp_path / ".hidden.tmp", young]
    for path in (old, *kept):
        path.write_text("x")
        if path is not young:
            long_ago = time.time() - 2 * OLD_SECONDS
            os.utime(path, (long_ago, long_ago))
    assert sweep(Folder(str(tmp_path))) == 1
    assert not old.exists()
    assert all(path.exists() for path in kept)


def test_a_run_that_does_not_exist_yet_has_none(tmp_path: Path) -> None:
    assert sweep(Folder(str(tmp_path / "none"))) == 0
