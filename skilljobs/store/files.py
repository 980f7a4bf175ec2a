"""A folder of files on any filesystem that pyarrow supports. Files are written completely or not at all."""

import os
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pyarrow as pa
from pyarrow import fs

from skilljobs.errors import InputError
from skilljobs.filesystems import open_uri
from skilljobs.uris import child_uri, is_uri


class Folder:
    """The files below one URI or local path. Their names are relative and use forward slashes.

    Raises:
        InputError: the URI holds a secret, or names no place that pyarrow can reach.
    """

    def __init__(self, uri: str) -> None:
        if is_uri(uri):
            self.filesystem, self.root = open_uri(uri, "the place of a run or file")
        else:
            self.filesystem, self.root = fs.LocalFileSystem(), os.path.realpath(os.path.expanduser(uri))
        self.uri = uri if is_uri(uri) else self.root
        self.is_local = isinstance(self.filesystem, fs.LocalFileSystem)

    def path(self, name: str) -> str:
        """Return the path of `name` on the folder's filesystem."""
        return f"{self.root}/{name}" if name else self.root

    def write(self, name: str, data: bytes | pa.Buffer) -> None:
        """Write the file `name` in one step, so that neither a reader nor a crash ever leaves it incomplete.

        On a local filesystem, a temporary file in the same folder is flushed and renamed; on an object store, the file
        is uploaded as a whole.
        """
        if self.is_local:
            with self.stream(name) as file:
                file.write(memoryview(data))
        else:
            with self.filesystem.open_output_stream(self.path(name)) as stream:
                stream.write(data)

    @contextmanager
    def stream(self, name: str, survives_crash: bool = True) -> Iterator[IO[bytes]]:
        """Open a file to be written in pieces.

        The file appears when the block ends, and does not appear if the block raises an exception. With
        `survives_crash` False, a crash of the machine may leave it incomplete: for files that are made anew then.
        """
        if not self.is_local:
            with tempfile.TemporaryFile() as buffer:
                yield buffer
                buffer.seek(0)
                self.write(name, buffer.read())
            return
        target = Path(self.path(name))
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")
        try:
            with temporary.open("wb") as file:
                yield file
                file.flush()
                if survives_crash:
                    os.fsync(file.fileno())
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)

    def read(self, name: str) -> bytes:
        """Return the contents of a file.

        Raises:
            FileNotFoundError: there is no such file.
        """
        with self.filesystem.open_input_stream(self.path(name)) as stream:
            return bytes(stream.read())

    def open(self, name: str) -> pa.NativeFile:
        """Open a file for seeking, which Parquet's footers and row groups need."""
        return self.filesystem.open_input_file(self.path(name))

    def size(self, name: str) -> int | None:
        """Return the size of a file in bytes, or None if there is no such file."""
        info = self.filesystem.get_file_info(self.path(name))
        return info.size if info.type == fs.FileType.File else None

    def exists(self, name: str) -> bool:
        """Return whether there is a file `name`."""
        return self.size(name) is not None

    def names(self, folder: str, suffix: str) -> list[str]:
        """Return the sorted names of the files directly in `folder` that end in `suffix`, without temporary files."""
        selector = fs.FileSelector(self.path(folder), allow_not_found=True)
        try:
            entries = self.filesystem.get_file_info(selector)
        except FileNotFoundError:  # made in this moment: pyarrow looks twice, and saw it the second time only
            entries = self.filesystem.get_file_info(selector)
        base = f"{folder}/" if folder else ""
        return sorted(
            base + info.base_name
            for info in entries
            if info.type == fs.FileType.File and info.base_name.endswith(suffix) and not info.base_name.startswith(".")
        )

    def below(self, name: str) -> "Folder":
        """The folder `name` in this one, whether it exists or not."""
        return Folder(child_uri(self.uri, name))

    def folders(self) -> list[str]:
        """Return the sorted names of the folders directly below this one.

        Raises:
            InputError: this one cannot be read, or is a file.
        """
        try:
            entries = self.filesystem.get_file_info(fs.FileSelector(self.root, allow_not_found=True))
        except (OSError, ValueError, pa.ArrowException) as error:
            raise InputError(f"the folder {self.uri} cannot be read: {error}") from error
        return sorted(info.base_name for info in entries if info.type == fs.FileType.Directory)

    @property
    def is_there(self) -> bool:
        """Whether there is a folder, or for object storage anything under its name.

        Raises:
            InputError: that cannot be found out.
        """
        try:
            return bool(self.filesystem.get_file_info(self.root).type != fs.FileType.NotFound)
        except (OSError, ValueError, pa.ArrowException) as error:
            raise InputError(f"the folder {self.uri} cannot be read: {error}") from error

    @property
    def total_size(self) -> int:
        """The bytes of all files, those in folders below included."""
        selector = fs.FileSelector(self.root, recursive=True, allow_not_found=True)
        return sum(info.size for info in self.filesystem.get_file_info(selector) if info.type == fs.FileType.File)

    def delete(self, name: str) -> None:
        """Delete a file; nothing happens if there is none."""
        if self.exists(name):
            self.filesystem.delete_file(self.path(name))

    def delete_folder(self, name: str) -> None:
        """Delete a folder and everything in it; nothing happens if there is none."""
        if self.filesystem.get_file_info(self.path(name)).type == fs.FileType.Directory:
            self.filesystem.delete_dir(self.path(name))
