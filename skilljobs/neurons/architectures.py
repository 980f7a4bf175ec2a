"""The architectures that are known: where the neurons of their layers are.

`Architecture.down_projection` is the path of an FFN's down projection within a layer; its input are the neurons. A
model of a type that is not listed is read too if every layer has one of these paths. Every model is compared with a
plain forward pass when it is loaded (`lm/self_check.py`), whatever is listed here.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Architecture:
    """A family of architectures whose layers have the same names. `model_types` are those of transformers."""

    model_types: tuple[str, ...]
    down_projection: str | None
    """None if all neurons are in experts."""
    gated: bool
    """Whether a neuron is the product of a gate and an up projection."""
    note: str = ""


DENSE = (
    Architecture(
        (
            "beam", "bitnet", "cohere", "cohere2", "cwm", "diffllama", "doge", "ernie4_5", "exaone4", "flint", "gemma",
            "gemma2", "gemma3_text", "glm", "glm4", "granite", "granite_swa", "helium", "hunyuan_v1_dense",
            "hyperclovax", "internlm3", "iquestcoder", "llama", "minicpm3", "ministral", "ministral3", "mistral",
            "olmo", "olmo2", "olmo3", "phi3", "qwen2", "qwen3", "seed_oss", "smollm3", "stablelm", "vaultgemma",
            "youtu",
        ),
        "mlp.down_proj", gated=True,
    ),
    Architecture(("apertus", "arcee", "jais2", "nemotron"), "mlp.down_proj", gated=False),
    Architecture(("lfm2",), "feed_forward.w2", gated=True, note="some layers convolve instead of attending"),
    Architecture(("modernbert-decoder",), "mlp.Wo", gated=True, note="a transformation stands before the LM head"),
    Architecture(("gpt-sw3", "gpt2", "gpt_bigcode", "gpt_neo", "starcoder2"), "mlp.c_proj", gated=False),
    Architecture(
        ("bloom", "falcon", "gpt_neox", "gpt_neox_japanese", "persimmon"), "mlp.dense_4h_to_h", gated=False
    ),
    Architecture(("codegen", "gptj"), "mlp.fc_out", gated=False),
    Architecture(("nanochat", "phi"), "mlp.fc2", gated=False),
    Architecture(("biogpt", "opt", "whisper", "xglm"), "fc2", gated=False),
    Architecture(("mpt",), "ffn.down_proj", gated=False),
    Architecture(("ctrl",), "ffn.2", gated=False),
    Architecture(
        ("bert", "bert-generation", "big_bird", "electra", "ernie", "megatron-bert", "rembert", "roc_bert"),
        "output.dense", gated=False, note="only as decoders (is_decoder)",
    ),
)  # fmt: skip
"""Layers with one FFN each."""
EXPERTS = (
    Architecture(
        (
            "cohere2_moe", "flex_olmo", "gpt_oss", "granitemoe", "granitemoe_swa", "mellum", "minimax_m2", "mixtral",
            "olmoe", "phimoe", "qwen3_moe",
        ),
        None, gated=True,
    ),
    Architecture(("mimo_v2_flash",), "mlp.down_proj", gated=True, note="some layers are dense"),
    Architecture(
        (
            "afmoe", "aria_text", "axk1", "axk2", "deepseek_v2", "deepseek_v3", "deepseek_v32", "ernie4_5_moe",
            "exaone_moe", "glm4_moe", "glm4_moe_lite", "glm_moe_dsa", "hy_v3", "hy_v4", "kolibri1", "laguna",
            "minimax_m3_vl_text", "solar_open",
        ),
        "mlp.shared_experts.down_proj", gated=True, note="some layers may be dense",
    ),
    Architecture(
        ("qwen2_moe",), "mlp.shared_expert.down_proj", gated=True,
        note="the gate of the shared expert is not part of its activations",
    ),
    Architecture(("hunyuan_v1_moe",), "mlp.shared_mlp.down_proj", gated=True),
    Architecture(("granitemoeshared",), "shared_mlp.output_linear", gated=True),
    Architecture(
        ("llama4_text",), "feed_forward.shared_expert.down_proj", gated=True,
        note="the router weighs what experts read, not what they write",
    ),
)  # fmt: skip
"""Layers with experts, whose neurons are read too; `down_projection` is that of the FFN that all tokens share."""
MASKED_MODELS = (
    Architecture(
        (
            "bert", "camembert", "data2vec-text", "deberta", "deberta-v2", "ernie", "layoutlm", "megatron-bert",
            "mpnet", "roberta", "roberta-prelayernorm", "roc_bert", "roformer", "tapas", "xlm-roberta",
            "xlm-roberta-xl",
        ),
        "output.dense", gated=False,
    ),
    Architecture(("distilbert",), "ffn.lin2", gated=False),
    Architecture(("modernbert",), "mlp.Wo", gated=True),
    Architecture(("eurobert", "gte", "nomic_bert", "ultrabert"), "mlp.down_proj", gated=True),
    Architecture(("jina_embeddings_v3",), "mlp.fc2", gated=False),
)  # fmt: skip
"""Masked language models, which read text and answer in both directions."""
ARCHITECTURES = (*DENSE, *EXPERTS)
DOWN_PROJECTIONS = tuple(dict.fromkeys(row.down_projection for row in (*DENSE, *MASKED_MODELS) if row.down_projection))
SHARED_DOWN_PROJECTIONS = tuple(
    row.down_projection for row in EXPERTS if row.down_projection and row.down_projection not in DOWN_PROJECTIONS
)
