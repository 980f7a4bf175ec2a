"""The runs that a folder holds: one that is damaged does not hide the others, nor itself."""

from dataclasses import dataclass

from skilljobs.errors import InputError
from skilljobs.store.files import Folder
from skilljobs.store.run import PROGRESS_NAME, RunFiles
from skilljobs.uris import child_uri


@dataclass(frozen=True)
class RunList:
    """The runs in a folder."""

    readable: list[RunFiles]
    """Newest first."""
    broken: dict[str, str]
    """By URI, why the record of a run cannot be read."""
    without_record: list[RunFiles]
    """Runs whose job has written its progress and no record yet."""


def list_runs(uri: str) -> RunList:
    """The runs in a folder. Other folders in it, without a record and without progress, are skipped.

    Raises:
        InputError: the folder cannot be read.
    """
    folder = Folder(uri)
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
