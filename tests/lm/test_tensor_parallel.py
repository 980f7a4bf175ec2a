"""What is refused to several ranks before any weight is read."""

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import (
    BertConfig,
    DeepseekV2Config,
    Gemma3TextConfig,
    GPT2Config,
    LlamaConfig,
    PreTrainedConfig,
    Qwen3MoeConfig,
)

import skilljobs
from skilljobs.checkpoints.source import TINY_DIRECTORY, ModelSource
from skilljobs.errors import InputError
from skilljobs.lm.tensor_parallel import check_shareable
from skilljobs.spec import JobSpec
from tests.shared_models import SHAREABLE
from tests.tables import random_rows, write_jsonl

HEADS = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 2}
GEMMA_270M = Gemma3TextConfig(
    hidden_size=640, intermediate_size=2048, num_hidden_layers=1, num_attention_heads=4, num_key_value_heads=1
)


def check(tmp_path: Path, config: PreTrainedConfig, **options: Any) -> None:
    """There are no weights."""
    config.save_pretrained(tmp_path)
    source = ModelSource("mine", tmp_path, json.loads((tmp_path / "config.json").read_text()))
    check_shareable(source, JobSpec(**{"data": "table.csv", "tensor_parallel": 2, **options}))


@pytest.mark.parametrize("name", SHAREABLE)
def test_a_model_that_is_divided_evenly_is_shared(tmp_path: Path, name: str) -> None:
    check(tmp_path, SHAREABLE[name]())


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (GEMMA_270M, "the model mine has 1 key-value heads, which 2 does not divide"),
        (LlamaConfig(**HEADS, intermediate_size=33), "33 neurons of a layer, which 2 does not divide"),
        (LlamaConfig(**{**HEADS, "num_attention_heads": 1}), "1 attention heads, which 2 does not"),
        (Qwen3MoeConfig(**HEADS, moe_intermediate_size=9, num_experts=2), "9 neurons of an expert, which 2 does not"),
        (GPT2Config(n_embd=32, n_layer=1, n_head=2), "transformers has no plan for sharing a GPT2LMHeadModel among"),
        (
            DeepseekV2Config(**HEADS, num_experts_per_tok=2, n_routed_experts=4),
            r"shares a DeepseekV2ForCausalLM in ways that have not been tried \(mla_kv_a_proj\)",
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, PreTrainedConfig) else "",
)
def test_a_model_that_ranks_cannot_share_is_refused(tmp_path: Path, config: PreTrainedConfig, reason: str) -> None:
    with pytest.raises(InputError, match=f"--tensor-parallel 2: .*{reason}"):
        check(tmp_path, config)


@pytest.mark.parametrize(
    "options",
    [
        {"quantize": "8bit"},
        {"adapter": "somewhere"},
        {"units": "residual"},
        {"trust_remote_code": True},
        {"statistic": "predictivity"},
    ],
)
def test_an_option_that_ranks_cannot_heed_is_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"--tensor-parallel 2 .* does not go with --"):
        check(tmp_path, SHAREABLE["llama"](), **options)


def test_a_masked_language_model_is_refused(tmp_path: Path) -> None:
    config = BertConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, architectures=["BertForMaskedLM"])
    with pytest.raises(InputError, match="the model mine is a masked language model, which ranks do not share"):
        check(tmp_path, config)


def test_the_tiny_model_is_refused_before_anything_starts(tmp_path: Path) -> None:
    heads = json.loads((TINY_DIRECTORY / "config.json").read_text())["num_attention_heads"]
    data = write_jsonl(tmp_path / "table.jsonl", random_rows(60))
    with pytest.raises(InputError, match=f"the model tiny has {heads} attention heads, which {heads + 1} does not"):
        skilljobs.submit(data=str(data), model="tiny", out=str(tmp_path / "runs"), tensor_parallel=heads + 1)
    assert not (tmp_path / "runs").exists()
