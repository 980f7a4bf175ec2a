"""The file of a soft prompt, without torch (see `skilljobs.lm.prompt`)."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

TENSOR = "soft_prompt"


def prompt_bytes(vectors: NDArray[np.float32], metadata: Mapping[str, str]) -> bytes:
    """A safetensors file of a soft prompt, P x d_model."""
    return bytes(save({TENSOR: np.ascontiguousarray(vectors, np.float32)}, dict(metadata)))


def prompt_vectors(data: bytes) -> NDArray[np.float32]:
    """The soft prompt in a file that `prompt_bytes` or `SoftPrompt.to_bytes` made."""
    vectors: NDArray[np.float32] = load(data)[TENSOR]
    return vectors
