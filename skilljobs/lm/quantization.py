"""Loading a model with quantized weights, through transformers and bitsandbytes."""

from typing import Any

import torch
from transformers import BitsAndBytesConfig, PreTrainedModel


def quantizer_options(quantize: str | None, dtype: torch.dtype, device: str) -> dict[str, Any]:
    """The options of `from_pretrained` that quantize the weights of linear layers to `quantize`, `8bit` or `4bit`.

    In 8 bits, outliers are not treated apart (LLM.int8's threshold is 0): which columns have one is decided over a
    whole batch, so the activations of an example would depend on what it is batched with. In 4 bits, the type is NF4.
    """
    if quantize is None:
        return {}
    if quantize == "8bit":
        config = BitsAndBytesConfig(load_in_8bit=True, llm_int8_threshold=0.0)
    else:
        config = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype)
    placement = {} if device == "auto" else {"device_map": {"": device}}  # it cannot be moved later
    return {"quantization_config": config, **placement}


def is_quantized(model: PreTrainedModel) -> bool:
    """Whether a quantizer of transformers has made the model's layers."""
    return getattr(model, "hf_quantizer", None) is not None
