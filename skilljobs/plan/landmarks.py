"""Whether a machine sees what a scorer reads and writes: the run's directory and the model."""

import json
import platform
from dataclasses import dataclass

import pyarrow as pa

from skilljobs.checkpoints.source import ModelSource, find_again
from skilljobs.errors import InputError
from skilljobs.store.files import Folder
from skilljobs.store.run import RECORD


@dataclass(frozen=True)
class Landmarks:
    """What the driver sees, so that another machine can tell whether it sees the same."""

    uri: str
    """The run's directory."""
    created: str
    """When the run was begun, as its record says."""
    source: ModelSource
    model_digest: str

    @classmethod
    def of(cls, uri: str, created: str, source: ModelSource) -> "Landmarks":
        """The landmarks of a run that was begun at `created`."""
        return cls(uri, created, source, source.sampled_digest)

    def missing(self) -> str | None:
        """What this machine does not see, in a sentence; None if it sees everything."""
        try:
            created, reason = json.loads(Folder(self.uri).read(RECORD))["created"], ""
        except (OSError, ValueError, KeyError, TypeError, pa.ArrowException, InputError) as error:
            created, reason = None, f" ({str(error).strip().partition(chr(10))[0]})"
        if created != self.created:
            what = "sees another run in" if created else "does not see"
            return (
                f"the machine {platform.node()} {what} the run's directory {self.uri}:"
                f" --out must be storage that all machines see under the same name{reason}"
            )
        return self._missing_model() if self.source.revision is None else None

    def _missing_model(self) -> str | None:
        """Whether the model's files are there. A model on the hub is not checked: scorers fetch the same commit."""
        try:
            digest = find_again(self.source).sampled_digest
        except InputError as error:
            return f"the machine {platform.node()} does not see --model {self.source.name}: {error}"
        if digest != self.model_digest:
            return f"the machine {platform.node()} sees another --model {self.source.name}: its files differ"
        return None
