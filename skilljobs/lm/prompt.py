"""The soft prompt: P vectors in the model's embedding space, between the text and the answer."""

from dataclasses import dataclass, field

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from skilljobs.checkpoints.safetensors_header import read_header

TENSOR = "soft_prompt"


@dataclass(frozen=True)
class SoftPrompt:
    """A soft prompt. `vectors` is P x d_model, float32; if P is 0, neurons are read at the last text token."""

    vectors: torch.Tensor
    metadata: dict[str, str] = field(default_factory=dict)

    @property
    def length(self) -> int:
        return self.vectors.shape[0]

    def to_bytes(self) -> bytes:
        """Return the prompt as the bytes of a safetensors file."""
        return bytes(save({TENSOR: self.vectors.detach().float().cpu().contiguous()}, self.metadata))


def random_prompt(embedding: torch.nn.Module, vocabulary: int, length: int, seed: int) -> SoftPrompt:
    """Return the embeddings of `length` tokens drawn by seed, without repetition if the vocabulary is large enough."""
    generator = torch.Generator().manual_seed(seed)
    if length <= vocabulary:
        tokens = torch.randperm(vocabulary, generator=generator)[:length]
    else:
        tokens = torch.randint(vocabulary, (length,), generator=generator)
    device = next(embedding.parameters()).device
    with torch.no_grad():
        vectors = embedding(tokens.to(device)[None])[0].float().cpu()
    return SoftPrompt(vectors, {"steps": "0"})


def no_prompt(width: int) -> SoftPrompt:
    """Return an empty prompt, 0 x `width`."""
    return SoftPrompt(torch.zeros(0, width))


def read_prompt_bytes(data: bytes) -> SoftPrompt:
    """Return the soft prompt in the bytes of a safetensors file.

    Raises:
        ValueError: The bytes are not a safetensors file, or do not hold exactly one tensor, of P x d_model.
    """
    try:
        tensors = load(data)
        metadata = read_metadata(data)
    except (SafetensorError, ValueError) as error:
        raise ValueError(f"it is not a safetensors file: {error}") from error
    vectors = next(iter(tensors.values())) if len(tensors) == 1 else None
    if vectors is None or vectors.ndim != 2:
        raise ValueError(f"it must hold one tensor, positions x d_model; it holds {sorted(tensors)}")
    return SoftPrompt(vectors.float(), metadata)


def read_metadata(data: bytes) -> dict[str, str]:
    """Return the metadata in the bytes of a safetensors file.

    Raises:
        ValueError: The bytes are not a safetensors file.
    """
    return dict(read_header(data).get("__metadata__", {}))
