"""How far a model may be from its own forward pass, and what is refused or limited by its configuration alone."""

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from skilljobs.errors import InputError

HEAD_TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 0.2, torch.float16: 0.05}

MASK_TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.1, torch.float16: 0.02}
"""Allowed relative error of hidden states. A model that ignores the mask is off by about 1."""

UNSUPPORTED = (TypeError, ValueError, RuntimeError, IndexError, KeyError, AttributeError, NotImplementedError)
"""What architectures raise when they are used in a way that they do not support."""

APPROXIMATE_ATTENTION = frozenset(("big_bird", "longformer", "mra", "nystromformer", "reformer", "yoso"))
"""Masked language models whose attention is not exact on long texts, which a check on short ones does not show."""

WINDOW_NAMES = ("sliding_window", "window_size", "local_attention", "attention_window_size", "attention_chunk_size")
"""What configurations call the number of positions that a layer attends to."""


def shortest_window(config: PreTrainedConfig) -> int | None:
    """The shortest attention window that a configuration names; None if it names none."""
    windows = [getattr(config, name, None) for name in WINDOW_NAMES]
    return min((window for window in windows if isinstance(window, int) and window > 0), default=None)


def check_masked(model: PreTrainedModel, embedding: nn.Module) -> None:
    """Refuse a masked language model whose attention is approximate, or whose embeddings have another width.

    Raises:
        InputError: it is such a model.
    """
    name, config = type(model).__name__, model.config.get_text_config()
    if config.model_type in APPROXIMATE_ATTENTION:
        raise InputError(
            f"{name} approximates attention in a way that depends on the length of a batch: this is not supported"
        )
    width = int(embedding.weight.shape[1])  # type: ignore[union-attr, index]
    if width != config.hidden_size:
        raise InputError(
            f"{name}: its embeddings are {width} wide, and its d_model is {config.hidden_size}: this is not supported"
        )
