"""Tiny random models of every causal architecture that transformers has."""

from collections.abc import Iterator
from typing import Any

import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

LAYERS, WINDOW = 2, 12
MOST_PARAMETERS = 10_000_000
SIZES: dict[str, Any] = {
    **dict.fromkeys(("vocab_size", "vocab_size_per_layer_input"), 400),
    **dict.fromkeys(("hidden_size", "n_embd", "d_model"), 32),
    **dict.fromkeys(("intermediate_size", "ffn_dim", "decoder_ffn_dim", "d_ff", "n_inner"), 48),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers", "decoder_layers"), LAYERS),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads", "decoder_attention_heads"), 2),
    **dict.fromkeys(("head_dim", "d_kv"), 16),
    **dict.fromkeys(("max_position_embeddings", "n_positions"), 256),
    **dict.fromkeys(("sliding_window", "window_size", "local_attention"), WINDOW),
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts"), 4),
    "num_key_value_heads": 1, "hidden_size_per_layer_input": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 24,
    "rotary_dim": 8, "num_kv_shared_layers": 0, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
    "is_decoder": True, "qk_rope_head_dim": 16, "qk_nope_head_dim": 16, "v_head_dim": 16, "kv_lora_rank": 16,
    "q_lora_rank": 16, "first_k_dense_replace": 1, "n_group": 1,
    "topk_group": 1,
}  # fmt: skip
OF_TYPE: dict[str, dict[str, Any]] = {
    "diffllama": {"num_key_value_heads": 2},
    "codegen": {"n_head": 4, "num_attention_heads": 4, "n_embd": 64, "hidden_size": 64},
    "zaya": {"num_experts_per_tok": 1},
    "granitemoehybrid": {"layer_types": ["attention", "attention"], "mamba_n_heads": 4},
    "granitemoeshared": {"shared_intermediate_size": 40},
    "roc_bert": {"pronunciation_embed_dim": 8, "shape_embed_dim": 8, "pronunciation_vocab_size": 20,
                 "shape_vocab_size": 20},
}  # fmt: skip
"""What single architectures need beside."""


def causal_types() -> Iterator[str]:
    """The names of the architectures, as `model_type` in a configuration."""
    yield from sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)


def build_tiny(model_type: str) -> PreTrainedModel | None:
    """A model of random weights, all of which matter; None where these sizes do not make one.

    What transformers raises while it builds or runs a configuration that does not fit together is not about skilljobs.
    """
    torch.manual_seed(0)
    try:
        config = small_config(CONFIG_MAPPING[model_type])
        with torch.device("meta"):
            size = sum(weight.numel() for weight in AutoModelForCausalLM.from_config(config).parameters())
        if size > MOST_PARAMETERS:
            return None
        model: PreTrainedModel = AutoModelForCausalLM.from_config(config)
    except Exception:
        return None
    return randomized(model)


def randomized(model: PreTrainedModel) -> PreTrainedModel:
    """`model` with random weights, all of which matter."""
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim == 2:
                weight.normal_(std=0.3)
            else:
                weight.add_(torch.randn_like(weight) * 0.1)
    return model.eval()


def small_config(config_type: type[PreTrainedConfig]) -> PreTrainedConfig:
    """A configuration of the sizes above."""
    usual = config_type()
    sizes = {name: size for name, size in SIZES.items() if hasattr(usual, name) and _can_be_set(config_type, name)}
    sizes |= OF_TYPE.get(usual.model_type, {})
    if getattr(usual, "attention_types", None) is not None:  # GPT-Neo
        sizes["attention_types"] = [[["global", "local"], 1]]
    if hasattr(usual, "kv_lora_rank") and "num_key_value_heads" in sizes:  # latent attention has no shared keys
        sizes["num_key_value_heads"] = sizes["num_attention_heads"]
    layer_types = getattr(usual, "layer_types", None)
    if isinstance(layer_types, list | tuple) and _can_be_set(config_type, "layer_types"):
        sizes["layer_types"] = (list(dict.fromkeys(layer_types)) * LAYERS)[:LAYERS]
    return config_type(**sizes)


def _can_be_set(config_type: type[PreTrainedConfig], name: str) -> bool:
    """Whether a configuration takes a value of this name, instead of working it out."""
    declared = getattr(config_type, name, None)
    return not isinstance(declared, property) or declared.fset is not None
