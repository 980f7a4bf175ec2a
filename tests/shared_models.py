"""Models that two ranks can hold together, and functions that spawned ranks run."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    Phi3Config,
    PreTrainedConfig,
    PreTrainedModel,
    Qwen2MoeConfig,
)

from skilljobs.checkpoints.source import TINY_DIRECTORY
from skilljobs.lm.ranks import Ranks, join
from tests.models import save

SIZES: dict[str, Any] = {
    "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 512, "bos_token_id": None, "pad_token_id": 0,
}  # fmt: skip
SHAREABLE: dict[str, Callable[[], PreTrainedConfig]] = {
    "llama": lambda: LlamaConfig(**SIZES),
    "phi3": lambda: Phi3Config(**SIZES),
    "qwen2_moe": lambda: Qwen2MoeConfig(
        **SIZES, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=24, shared_expert_intermediate_size=40
    ),
}
"""By name; the Llama has two key-value heads, each rank sees all neurons of Phi-3."""


def save_random(path: Path, config: PreTrainedConfig) -> Path:
    """A model with the tiny model's tokenizer, of weights such that activations and answers differ between examples."""
    tokenizer = AutoTokenizer.from_pretrained(TINY_DIRECTORY)
    config.vocab_size, config.eos_token_id = len(tokenizer), tokenizer.eos_token_id
    torch.manual_seed(0)
    model: PreTrainedModel = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.normal_(std=1.5 / weight.shape[-1] ** 0.5)
    return save(model, path)


def run_as_ranks(work: Callable[[Ranks, Path], Any], folder: Path) -> list[Any]:
    """What `work(ranks, folder)` returns in each of two processes that have met. It must be importable."""
    torch.multiprocessing.spawn(_run, (work, folder), nprocs=2)  # type: ignore[attr-defined]
    return [torch.load(folder / f"rank-{rank}", weights_only=False) for rank in range(2)]


def _run(rank: int, work: Callable[[Ranks, Path], Any], folder: Path) -> None:
    os.environ["HF_HUB_OFFLINE"] = "1"
    torch.set_num_threads(1)
    ranks = join(rank, 2, str(folder / "meeting-point"), "cpu")
    torch.save(work(ranks, folder), folder / f"rank-{rank}")
