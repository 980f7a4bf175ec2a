"""Whether a machine sees what a scorer reads and writes: the run's directory and the model. Imports no Ray."""

import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from skilljobs.errors import InputError
from skilljobs.lm.source import ModelSource, find_model
from skilljobs.store.files import Folder
from skilljobs.store.run import RECORD


@dataclass(frozen=True)
class Landmarks:
    """What the driver sees, by which another machine knows that it sees the same."""

    uri: str
    """The run's directory."""
    created: str
    """When the run was begun, as its record says."""
    source: ModelSource
    model_files: Mapping[str, int]
    """Names and sizes in bytes."""

    @classmethod
    def of(cls, uri: str, record: Mapping[str, Any], source: ModelSource) -> "Landmarks":
        return cls(uri, record["created"], source, source.sizes)

    def unseen(self) -> str | None:
        """What this machine does not see, in a sentence; None if it sees all."""
        try:
            created, reason = json.loads(Folder(self.uri).read(RECORD))["created"], ""
        except (OSError, ValueError, KeyError, pa.ArrowException) as error:
            created, reason = None, f" ({str(error).strip().partition(chr(10))[0]})"
        if created != self.created:
            what = "sees another run in" if created else "does not see"
            return (
                f"the machine {platform.node()} {what} the run's directory {self.uri}:"
                f" --out must be storage that all machines see under the same name{reason}"
            )
        try:
            files = located(self.source).sizes
        except InputError as error:
            return f"the machine {platform.node()} does not see --model {self.source.name}: {error}"
        for name, size in self.model_files.items():
            if files.get(name) != size:
                there = f"{files[name]} bytes" if name in files else "not there"
                return (
                    f"the machine {platform.node()} sees another --model {self.source.name}:"
                    f" {name} is {there}, where the job was begun {size} bytes"
                )
        return None


def located(source: ModelSource) -> ModelSource:
    """The model on this machine: where it was found elsewhere, or found anew (hub models have a cache a machine).

    Raises:
        InputError: it is not to be had here.
    """
    return source if source.path.is_dir() else find_model(source.name)
