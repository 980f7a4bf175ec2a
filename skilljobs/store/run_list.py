"""The runs that a folder holds: one that is damaged does not hide the others, nor itself."""

from dataclasses import dataclass

import pyarrow as pa

from skilljobs.errors import InputError
from skilljobs.store.files import Folder
from skilljobs.store.run import PROGRESS_NAME, RECORD, RunFiles
from skilljobs.store.series_files import SeriesFiles
from skilljobs.uris import child_uri, is_uri


@dataclass(frozen=True)
class RunList:
    """The runs in a folder."""

    readable: list[RunFiles]
    """Newest first."""
    broken: dict[str, str]
    """By URI, why the record of a run cannot be read."""
    without_record: list[RunFiles]
    """Runs whose job has written its progress and no record yet."""


def locate_run(name: str, out: str) -> str:
    """Where the run or series `name` is: a directory or URI as it is, or a bare id in the folder `out`.

    A name that is neither is returned as it is: what opens it says that there is no run there.
    """
    is_bare = not is_uri(name) and not any(sign in name for sign in "/\\")
    if not is_bare or name in ("", ".", "..") or not name.isprintable() or _is_run(name):
        return name
    inside = child_uri(out, name)
    return inside if _is_run(inside) or SeriesFiles(inside).exists else name


def run_ids(out: str) -> list[str]:
    """The ids of the runs in the folder `out`, sorted.

    Raises:
        InputError: the folder cannot be read.
    """
    folder = Folder(out)
    return [name for name in folder.folders() if _is_run(child_uri(folder.uri, name))]


def _is_run(uri: str) -> bool:
    try:
        folder = Folder(uri)
        return folder.exists(RECORD) or folder.exists(PROGRESS_NAME)
    except (InputError, OSError, ValueError, pa.ArrowException):
        return False


def list_runs(uri: str) -> RunList:
    """The runs in a folder. Other folders in it, without a record and without progress, are skipped.

    Raises:
        InputError: there is no such folder, or it cannot be read.
    """
    folder = Folder(uri)
    if not folder.is_there:
        raise InputError(f"there is no folder {folder.uri}: --out names the folder that holds the runs")
    readable: list[RunFiles] = []
    broken: dict[str, str] = {}
    without_record: list[RunFiles] = []
    for name in folder.folders():
        run = RunFiles(child_uri(folder.uri, name))
        try:
            run.load()
        except InputError as error:
            if run.exists:
                broken[run.uri] = str(error)
            elif run.folder.exists(PROGRESS_NAME):
                without_record.append(run)
        else:
            readable.append(run)
    return RunList(sorted(readable, key=lambda run: run.record.created, reverse=True), broken, without_record)
