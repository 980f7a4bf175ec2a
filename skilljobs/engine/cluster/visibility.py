"""Whether a machine sees what a scorer reads and writes: the run's directory and the model. Imports no Ray."""

import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from skilljobs.errors import InputError
from skilljobs.lm.source import ModelSource, find_again
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
    model_digest: str

    @classmethod
    def of(cls, uri: str, record: Mapping[str, Any], source: ModelSource) -> "Landmarks":
        return cls(uri, record["created"], source, source.sampled_digest)

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
        return self._unseen_model() if self.source.revision is None else None

    def _unseen_model(self) -> str | None:
        """Of a model on the hub nothing is asked: scorers fetch the same commit, with all the time that takes."""
        try:
            digest = find_again(self.source).sampled_digest
        except InputError as error:
            return f"the machine {platform.node()} does not see --model {self.source.name}: {error}"
        if digest != self.model_digest:
            return f"the machine {platform.node()} sees another --model {self.source.name}: its files differ"
        return None
