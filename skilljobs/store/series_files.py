"""The record of a series: the same job on several models, each its own run beside the series in one folder."""

import json
from typing import Any

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, ValidationError

from skilljobs.errors import InputError
from skilljobs.store.files import Folder
from skilljobs.uris import child_uri, parent_and_name

SERIES_NAME = "series.json"
SERIES_FORMAT = 1


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Checkpoint(_Part):
    """A model of a series, and its run."""

    label: str
    model: str
    revision: str | None = None
    run_id: str
    """The name of its run, which is in the same folder as the series."""


class SeriesRecord(_Part):
    """The whole of `series.json`."""

    format: int = SERIES_FORMAT
    name: str
    created: str
    """ISO 8601, UTC."""
    options: dict[str, Any]
    """The options that all jobs have, those that are not the default."""
    checkpoints: tuple[Checkpoint, ...]
    """In order: the last one is what the others are compared with."""


class SeriesFiles:
    """The folder of a series: its record, and its figures."""

    def __init__(self, uri: str) -> None:
        self.folder = Folder(uri)

    @property
    def uri(self) -> str:
        return self.folder.uri

    @property
    def exists(self) -> bool:
        """Whether there is a series; there is none where that cannot be found out."""
        try:
            return self.folder.exists(SERIES_NAME)
        except (OSError, ValueError, pa.ArrowException):
            return False

    def run_uri(self, checkpoint: Checkpoint) -> str:
        """The directory of the run of a checkpoint."""
        return child_uri(parent_and_name(self.uri)[0], checkpoint.run_id)

    def read(self) -> SeriesRecord:
        """Read the record.

        Raises:
            InputError: there is no series here, or its record cannot be read.
        """
        try:
            data = self.folder.read(SERIES_NAME)
        except (FileNotFoundError, NotADirectoryError):
            raise InputError(f"there is no series at {self.uri} (it has no {SERIES_NAME})") from None
        except (OSError, ValueError, pa.ArrowException) as error:
            raise InputError(f"the series at {self.uri} cannot be read: {error}") from error
        broken = f"the series at {self.uri} has a broken {SERIES_NAME}"
        try:
            stored = json.loads(data)
            version = stored.get("format") if isinstance(stored, dict) else None
            if isinstance(version, int) and version != SERIES_FORMAT:
                raise InputError(
                    f"the series at {self.uri} has format version {version}; this skilljobs reads {SERIES_FORMAT}"
                )
            record = SeriesRecord.model_validate(stored)
        except ValidationError as error:
            first = error.errors()[0]
            raise InputError(f"{broken}: {'.'.join(map(str, first['loc']))}: {first['msg'].lower()}") from error
        except (ValueError, RecursionError) as error:
            raise InputError(f"{broken}: {error}") from error
        names = [checkpoint.run_id for checkpoint in record.checkpoints]
        if any(name in ("", ".", "..") or "/" in name or "\\" in name for name in names):
            raise InputError(f"{broken}: checkpoints: the name of a run is the name of one folder")
        return record

    def write(self, record: SeriesRecord) -> None:
        """Make `record` the record.

        Raises:
            InputError: the folder cannot be written.
        """
        try:
            self.folder.write(SERIES_NAME, (json.dumps(record.model_dump(mode="json"), indent=2) + "\n").encode())
        except (OSError, pa.ArrowException) as error:
            raise InputError(f"the series {self.uri} cannot be written: {error}") from error
