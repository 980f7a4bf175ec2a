"""Where the tuning of a soft prompt stands: stored, so that it can be continued. Needs no torch."""

import json
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from skilljobs.checkpoints.safetensors_header import read_header

Floats = NDArray[np.float32]
VERSION = "2"
"""Of the batches of the steps that follow: tuning that goes on must be what it was."""


@dataclass
class TuningState:
    """Everything that is needed to continue tuning. The arrays are P x d_model."""

    vectors: Floats
    best: Floats
    first_moment: Floats
    second_moment: Floats
    step: int = 0
    best_loss: float = math.inf
    best_step: int = 0
    gain_loss: float = math.inf
    """`gain_loss` and `gain_step` are the loss and step of the last improvement."""
    gain_step: int = 0
    losses: tuple[float, ...] = ()
    """The training losses of the steps since the last validation."""
    not_validated: tuple[str, ...] = ()
    """Validation examples whose loss under the first prompt is not finite. They are left out throughout."""

    @classmethod
    def start(cls, vectors: Floats) -> "TuningState":
        """Tuning that begins with `vectors`."""
        return cls(vectors.copy(), vectors.copy(), np.zeros_like(vectors), np.zeros_like(vectors))

    def to_bytes(self) -> bytes:
        """A safetensors file."""
        tensors = {name: value for name, value in vars(self).items() if isinstance(value, np.ndarray)}
        numbers = {name: json.dumps(value) for name, value in vars(self).items() if name not in tensors}
        return bytes(save(tensors, numbers | {"version": VERSION}))

    @classmethod
    def from_bytes(cls, data: bytes) -> "TuningState":
        """What `to_bytes` wrote.

        Raises:
            ValueError: it is something else.
        """
        try:
            metadata = read_header(data)["__metadata__"]
            if metadata.pop("version", None) != VERSION:
                raise ValueError("it is of another version, and holds no whole state of this tuning")
            numbers = {name: json.loads(text) for name, text in metadata.items()}
            lists = {name: tuple(numbers[name]) for name in ("losses", "not_validated")}
            return cls(**load(data), **(numbers | lists))
        except (KeyError, TypeError, SafetensorError) as error:
            raise ValueError(f"it holds no whole state of tuning: {error!r}") from error
