"""Loading a frozen language model and its tokenizer.

Code of a model's repository is only run if its source says so, which `--trust-remote-code` alone makes it do.
"""

import re
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging as transformers_logging

from skilljobs.checkpoints.checkpoint import listed
from skilljobs.checkpoints.source import ModelSource
from skilljobs.errors import InputError
from skilljobs.lm.memory import is_out_of_memory
from skilljobs.lm.quantization import quantizer_options
from skilljobs.lm.ranks import ALONE, Ranks, is_loss_of_rank
from skilljobs.lm.tensor_parallel import sharing_options

_OLD_BUFFERS = re.compile(r"(attn|attention)\.(masked_)?bias$|inv_freq$|position_ids$")
"""Masks and positions that older checkpoints store (GPT-2, Pythia) and that models now make themselves."""
_OF_OTHER_TASKS = re.compile(r"(^|\.)pooler\.|seq_relationship\.|discriminator_predictions\.")
"""What checkpoints of masked language models hold for what they were trained on beside (BERT, RoBERTa, ELECTRA)."""
_REFUSALS = (ValueError, OSError, KeyError, TypeError, AttributeError, RuntimeError, ImportError)
"""What transformers raises about files that it cannot use."""


def load_tokenizer(source: ModelSource) -> PreTrainedTokenizerBase:
    """Load a model's tokenizer.

    Raises:
        InputError: There is none, or it cannot be read.
    """
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            source.path, local_files_only=True, trust_remote_code=source.trust_remote_code
        )
    except Exception as error:  # tokenizers raises bare exceptions
        raise InputError(f"the model {source.name} has no tokenizer that can be read: {first_line(error)}") from error
    return tokenizer


def load_model(
    source: ModelSource, dtype: str, device: str, attention: str | None = None, ranks: Ranks = ALONE
) -> PreTrainedModel:
    """Load a model in evaluation mode, without gradients.

    `device` is a torch device, or `auto` to spread the model over all visible GPUs. `dtype` is the name of a torch
    floating-point type. `attention` is the name of an implementation in transformers; None for the best that the
    architecture supports (`sdpa`, or else `eager`). Several `ranks` share the weights.

    Raises:
        InputError: The model cannot be loaded, or its weights are not exactly those of its architecture: transformers
            would fill what is missing with random numbers.
    """
    transformers_logging.disable_progress_bar()
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()  # what is wrong with the weights is said below, in one sentence
    placement: dict[str, Any] = {"device_map": "auto"} if device == "auto" else {}
    if ranks.are_several:
        placement = sharing_options(source, ranks.count)
    placement |= quantizer_options(source.quantize, getattr(torch, dtype), device)
    try:
        family = AutoModelForMaskedLM if source.is_masked else AutoModelForCausalLM
        model, info = family.from_pretrained(
            source.path,
            dtype=getattr(torch, dtype),
            attn_implementation=attention,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=source.trust_remote_code,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # so that they are named below
            **placement,
        )
    except _REFUSALS as error:
        if is_out_of_memory(error) or is_loss_of_rank(error):
            raise
        reason = first_line(error)
        if "trust_remote_code" in str(error):
            reason = "it needs Python code of its own, which only --trust-remote-code runs"
        raise InputError(f"the model {source.name} cannot be loaded: {reason}") from error
    finally:
        transformers_logging.set_verbosity(verbosity)
    _check_weights(source, info)
    if device != "auto" and source.quantize is None and not ranks.are_several:
        model.to(device)
    if source.adapter is not None:
        from skilljobs.lm.adapter import merge_adapter

        model = merge_adapter(model, source.adapter, source.name)
    model.requires_grad_(False)
    loaded: PreTrainedModel = model.eval()
    return loaded


def _check_weights(source: ModelSource, info: dict[str, Any]) -> None:
    mismatched = {str(name): (tuple(stored), tuple(needed)) for name, stored, needed in info["mismatched_keys"]}
    for problem, names in (
        ("lacks", sorted(info["missing_keys"])),
        ("has the wrong shape for", sorted(mismatched)),
        (
            "has more than its architecture:",
            sorted(name for name in info["unexpected_keys"] if not _is_of_no_use(name, source.is_masked)),
        ),
    ):
        if names:
            stored, needed = mismatched.get(names[0], ((), ()))
            shapes = f" (stored as {stored}, needed as {needed})" if names[0] in mismatched else ""
            raise InputError(
                f"the model {source.name} {problem} {listed(list(map(str, names)))}{shapes}:"
                " results would not be those of this model"
            )
    if info.get("error_msgs"):
        raise InputError(f"the model {source.name} cannot be loaded: {info['error_msgs'][0]}")


def _is_of_no_use(name: str, is_masked: bool) -> bool:
    """Whether a stored tensor has no part in what the model says of a token."""
    return bool(_OLD_BUFFERS.search(name) or (is_masked and _OF_OTHER_TASKS.search(name)))


def first_line(error: Exception) -> str:
    """The first line of an error that says something, or else its type."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
