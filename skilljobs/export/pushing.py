"""Publishing a finished run: as a data set on the Hugging Face hub, or as a copy in a folder or object store."""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
from pyarrow import fs

from skilljobs.errors import InputError, JobFailed
from skilljobs.export.dataset_card import dataset_card
from skilljobs.export.hub_dataset import HUB, HubDataset
from skilljobs.export.published_files import PublishedFile, is_published, published_files, same_run
from skilljobs.store.files import Folder
from skilljobs.store.run import RECORD, RunFiles

CARD = "README.md"


@dataclass(frozen=True)
class Pushed:
    """What was published, or would be."""

    place: str
    files: int
    size: int
    """Bytes."""
    is_private: bool
    card_kept: bool
    """Whether a card that was there already was left as it is."""


def push(
    run: RunFiles, place: str, shards: bool = False, texts: bool = True, public: bool = False, dry_run: bool = False
) -> Pushed:
    """Publish a run at `place`: `hf://datasets/OWNER/NAME`, or a folder or URI that a run may be in.

    What was published of this run before is brought up to date, and what is not published any more is removed; a card
    that is there stays as it is. The record is written last.

    Args:
        shards, texts: see `published_files`.
        public: whether a new data set on the hub can be seen by everybody.
        dry_run: only say what would be published; nothing is read from or written to `place`.

    Raises:
        InputError: the run is not complete, or `place` cannot be used or holds something else.
        JobFailed: publishing was begun and failed.
    """
    files = published_files(run, shards, texts)
    target = HubDataset.of(place, public) if place.startswith(HUB) else _FolderTarget.of(place, run)
    card = dataset_card(run.record, files, target.place, texts).encode()
    size = len(card) + sum(file.size for file in files)
    if dry_run:
        return Pushed(target.place, len(files) + 1, size, target.is_private, False)
    target.open()
    there = target.names()
    if RECORD in there:
        if not same_run(target.read(RECORD), run.record):
            raise InputError(f"{target.place} holds another run: choose another name")
    elif set(there) - {CARD, ".gitattributes"}:
        raise InputError(f"{target.place} holds files and no run: choose another name")
    written = [PublishedFile(CARD, len(card), card)] if CARD not in there else []
    wanted = {file.name for file in files}
    stale = [name for name in there if is_published(name) and name not in wanted]
    try:
        target.write(run.folder, [*written, *files], stale)
    except (OSError, pa.ArrowException) as error:
        raise JobFailed(f"{target.place} could not be written: {error}; the same command writes it again") from error
    return Pushed(target.place, len(files) + 1, size, target.is_private, not written)


class _FolderTarget:
    """A folder on a disk or in an object store."""

    is_private = True

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self.place = folder.uri

    @classmethod
    def of(cls, place: str, run: RunFiles) -> "_FolderTarget":
        folder = Folder(place)
        if folder.uri == run.uri:
            raise InputError(f"{place} is the run itself: name another place")
        return cls(folder)

    def open(self) -> None:
        """Nothing is to be made: folders appear with their files."""

    def names(self) -> list[str]:
        """The files that are there."""
        if not self._folder.is_there:
            return []
        selector = fs.FileSelector(self._folder.root, recursive=True)
        try:
            infos = self._folder.filesystem.get_file_info(selector)
        except (OSError, pa.ArrowException) as error:
            raise InputError(f"{self.place} is not a folder that can be read: {error}") from error
        root = self._folder.root.rstrip("/") + "/"
        return [info.path.removeprefix(root) for info in infos if info.type == fs.FileType.File]

    def read(self, name: str) -> bytes:
        """The contents of a file."""
        return self._folder.read(name)

    def write(self, source: Folder, files: Sequence[PublishedFile], stale: Sequence[str]) -> None:
        """Write `files`, of which those without contents of their own are copied from `source`; delete `stale`."""
        for name in stale:
            self._folder.delete(name)
        for file in files:
            self._folder.write(file.name, source.read(file.name) if file.data is None else file.data)
