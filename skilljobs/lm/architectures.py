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
    down_projection: str
    gated: bool
    """Whether a neuron is the product of a gate and an up projection."""
    has_experts: bool = False
    """Whether layers are mixtures of experts; `down_projection` is then that of the layers, or of the part, without."""
    note: str = ""


DENSE = (
    Architecture(
        ("llama", "mistral", "ministral", "ministral3", "gemma", "gemma2", "gemma3_text", "vaultgemma",
         "qwen2", "qwen3", "phi3", "olmo", "olmo2", "olmo3", "cohere", "cohere2", "granite", "granite_swa", "smollm3",
         "glm", "glm4", "helium", "exaone4", "ernie4_5", "hunyuan_v1_dense", "seed_oss", "stablelm", "bitnet", "cwm",
         "doge", "internlm3", "hyperclovax", "iquestcoder", "beam", "diffllama", "flint"),
        "mlp.down_proj", gated=True,
    ),
    Architecture(("apertus", "arcee", "jais2", "nemotron"), "mlp.down_proj", gated=False),
    Architecture(("lfm2",), "feed_forward.w2", gated=True, note="some layers convolve instead of attending"),
    Architecture(("modernbert-decoder",), "mlp.Wo", gated=True, note="a transformation stands before its LM head"),
    Architecture(("gpt2", "gpt-sw3", "gpt_bigcode", "gpt_neo", "starcoder2"), "mlp.c_proj", gated=False),
    Architecture(
        ("gpt_neox", "gpt_neox_japanese", "bloom", "falcon", "persimmon"), "mlp.dense_4h_to_h", gated=False
    ),
    Architecture(("gptj", "codegen"), "mlp.fc_out", gated=False),
    Architecture(("phi", "nanochat"), "mlp.fc2", gated=False),
    Architecture(("opt", "xglm", "biogpt", "whisper"), "fc2", gated=False),
    Architecture(("mpt",), "ffn.down_proj", gated=False),
    Architecture(("ctrl",), "ffn.2", gated=False),
    Architecture(
        ("bert", "roberta"), "output.dense", gated=False, note="as decoders (`is_decoder`)"
    ),
)  # fmt: skip
EXPERTS = (Architecture(("mixtral", "qwen3_moe", "olmoe"), "", gated=True, has_experts=True),)
ARCHITECTURES = (*DENSE, *EXPERTS)
DOWN_PROJECTIONS = tuple(dict.fromkeys(row.down_projection for row in DENSE))
SHARED_DOWN_PROJECTIONS = (
    "mlp.shared_expert.down_proj",
    "mlp.shared_experts.down_proj",
    "mlp.shared_mlp.down_proj",
    "feed_forward.shared_expert.down_proj",
    "shared_mlp.output_linear",
)
"""The down projections of the FFN that all tokens pass through, beside experts."""
