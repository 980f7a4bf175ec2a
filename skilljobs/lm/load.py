"""Loading a frozen causal language model and its tokenizer."""

from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from skilljobs.lm.source import ModelSource


def load_tokenizer(source: ModelSource) -> PreTrainedTokenizerBase:
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(source.path, local_files_only=True)
    return tokenizer


def load_model(source: ModelSource, dtype: str, device: str, attention: str = "sdpa") -> PreTrainedModel:
    """Load a model in evaluation mode, without gradients.

    `device` is a torch device, or `auto` to spread the model over all visible GPUs. `dtype` is the name of a torch
    floating-point type.
    """
    transformers_logging.disable_progress_bar()
    placement: dict[str, Any] = {"device_map": "auto"} if device == "auto" else {}
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
        source.path,
        dtype=getattr(torch, dtype),
        attn_implementation=attention,
        local_files_only=True,
        use_safetensors=True,
        **placement,
    )
    if device != "auto":
        model.to(device)
    model.requires_grad_(False)
    return model.eval()
