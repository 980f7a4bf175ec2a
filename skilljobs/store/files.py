"""A folder of files on any filesystem that pyarrow knows, written whole or not at all."""

import os
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pyarrow as pa
from pyarrow import fs


class Folder:
    """Files below one URI or local path; names are relative, with forward slashes."""

    def __init__(self, uri: str) -> None:
        if "://" in uri:
            # without the option an object store would be asked for a multipart upload for every small file
            options = "?allow_delayed_open=true" if uri.startswith("s3://") else ""
            self.filesystem, self.root = fs.FileSystem.from_uri(uri + options)
        else:
            self.filesystem, self.root = fs.LocalFileSystem(), str(Path(uri).expanduser().resolve())
        self.uri = uri if "://" in uri else self.root
        self.is_local = isinstance(self.filesystem, fs.LocalFileSystem)

    def path(self, name: str) -> str:
        return f"{self.root}/{name}" if name else self.root

    def write(self, name: str, data: bytes | pa.Buffer) -> None:
        """Publish `data` under `name` in one step, for readers and after a crash.

        Locally a temporary file beside it, flushed and renamed; on an object store one whole put.
        """
        if self.is_local:
            with self.stream(name) as file:
                file.write(memoryview(data))
        else:
            with self.filesystem.open_output_stream(self.path(name)) as stream:
                stream.write(data)

    @contextmanager
    def stream(self, name: str) -> Iterator[IO[bytes]]:
        """A file to write piece by piece; it is published when the block ends, and not at all if it ends badly."""
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
                os.fsync(file.fileno())
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)

    def read(self, name: str) -> bytes:
        """Raises FileNotFoundError if there is no such file."""
        with self.filesystem.open_input_stream(self.path(name)) as stream:
            return bytes(stream.read())

    def open(self, name: str) -> pa.NativeFile:
        """A seekable file, for Parquet's footers and row groups."""
        return self.filesystem.open_input_file(self.path(name))

    def size(self, name: str) -> int | None:
        """Bytes of the file; None if there is none."""
        info = self.filesystem.get_file_info(self.path(name))
        return info.size if info.type == fs.FileType.File else None

    def exists(self, name: str) -> bool:
        return self.size(name) is not None

    def names(self, folder: str, suffix: str) -> list[str]:
        """Names below `folder` that end in `suffix`, sorted; temporary files are not among them."""
        found = self.filesystem.get_file_info(fs.FileSelector(self.path(folder), allow_not_found=True))
        base = f"{folder}/" if folder else ""
        return sorted(
            base + info.base_name
            for info in found
            if info.type == fs.FileType.File and info.base_name.endswith(suffix) and not info.base_name.startswith(".")
        )

    def folders(self) -> list[str]:
        """Names of the folders directly below."""
        found = self.filesystem.get_file_info(fs.FileSelector(self.root, allow_not_found=True))
        return sorted(info.base_name for info in found if info.type == fs.FileType.Directory)

    def delete(self, name: str) -> None:
        if self.exists(name):
            self.filesystem.delete_file(self.path(name))

    def delete_folder(self, name: str) -> None:
        """Delete the folder and all that is in it; nothing happens if there is none."""
        if self.filesystem.get_file_info(self.path(name)).type == fs.FileType.Directory:
            self.filesystem.delete_dir(self.path(name))
