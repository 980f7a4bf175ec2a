"""How the tuning of a soft prompt is set up, and what is stored of it so that it can be continued."""

import json
import math
from dataclasses import dataclass
from typing import Literal

import torch
from safetensors.torch import load, save

from skilljobs.lm.prompt import read_metadata


@dataclass
class TuningState:
    """Everything that is needed to continue tuning. The tensors are P x d_model, float32."""

    vectors: torch.Tensor
    best: torch.Tensor
    first_moment: torch.Tensor
    second_moment: torch.Tensor
    step: int = 0
    best_loss: float = math.inf
    best_step: int = 0
    gain_loss: float = math.inf
    """`gain_loss` and `gain_step` are the loss and step of the last improvement."""
    gain_step: int = 0
    not_validated: tuple[int, ...] = ()
    """Validation examples, by place, whose loss under the first prompt is not finite. They are left out throughout."""

    @classmethod
    def start(cls, vectors: torch.Tensor) -> "TuningState":
        return cls(vectors.clone(), vectors.clone(), torch.zeros_like(vectors), torch.zeros_like(vectors))

    def to_bytes(self) -> bytes:
        tensors = {name: value for name, value in vars(self).items() if isinstance(value, torch.Tensor)}
        numbers = {name: repr(value) for name, value in vars(self).items() if name not in tensors}
        numbers["not_validated"] = json.dumps(self.not_validated)
        return bytes(save(tensors, numbers))

    @classmethod
    def from_bytes(cls, data: bytes) -> "TuningState":
        numbers = read_metadata(data)
        return cls(
            **load(data),
            step=int(numbers["step"]),
            best_loss=float(numbers["best_loss"]),
            best_step=int(numbers["best_step"]),
            gain_loss=float(numbers["gain_loss"]),
            gain_step=int(numbers["gain_step"]),
            not_validated=tuple(json.loads(numbers["not_validated"])),
        )


@dataclass(frozen=True)
class TuneSettings:
    steps: int
    learning_rate: float
    loss: Literal["target", "choices"]
    seed: int
    batch_tokens: int
