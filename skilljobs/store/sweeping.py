"""Deleting what a process that was killed left half-written."""

import re
import tempfile
from pathlib import Path

from skilljobs.store.files import Folder

OLD_SECONDS = 300.0
"""A younger file may still be written, by a scorer of a job that was killed a moment ago."""
_TEMPORARY = re.compile(r"^\..+\.[0-9a-f]{32}\.tmp$")


def sweep(folder: Folder) -> int:
    """Delete the old temporary files of a run on a local filesystem. Returns how many there were.

    On object storage there are none: a file is put there as a whole. Ages are by the clock of the filesystem, which
    may be another machine's.
    """
    root = Path(folder.root)
    if not folder.is_local or not root.is_dir():
        return 0
    with tempfile.NamedTemporaryFile(dir=root) as fresh:
        now = Path(fresh.name).stat().st_mtime
    old = [
        path
        for path in root.rglob(".*.tmp")
        if _TEMPORARY.match(path.name) and path.is_file() and now - path.stat().st_mtime > OLD_SECONDS
    ]
    for path in old:
        path.unlink(missing_ok=True)
    return len(old)
