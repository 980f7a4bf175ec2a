"""A model is read in parts only if that gives what a plain forward pass gives; otherwise it is refused by name."""

import os
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer, PreTrainedModel

from skilljobs.checkpoints.source import TINY_DIRECTORY, ModelSource
from skilljobs.errors import InputError
from skilljobs.lm.load import load_model
from skilljobs.lm.model import FrozenLM
from skilljobs.lm.self_check import check_reading_in_parts
from skilljobs.neurons.architectures import ARCHITECTURES, EXPERTS, Architecture
from skilljobs.neurons.experts import ExpertNeurons
from skilljobs.neurons.ffn import find_neurons
from skilljobs.neurons.sites import ProjectionInput
from skilljobs.selection import Selection
from tests.architectures import WINDOW, build_tiny, causal_types

LARGEST_ERROR = 1e-5


def check(
    model: PreTrainedModel, folder: Path, attention: str | None = None, selection: Selection | None = None
) -> FrozenLM:
    """Load a model from its directory as a scorer does."""
    model.save_pretrained(folder)
    loaded = load_model(ModelSource("model", folder, {}), "float32", "cpu", attention)
    lm = FrozenLM(loaded, AutoTokenizer.from_pretrained(TINY_DIRECTORY), selection)
    assert check_reading_in_parts(lm) <= LARGEST_ERROR
    return lm


def tiny(model_type: str) -> PreTrainedModel:
    model = build_tiny(model_type)
    assert model is not None
    return model


@pytest.mark.parametrize(
    ("model_type", "attention"),
    [
        ("bloom", "eager"), ("gemma2", "eager"), ("gptj", "eager"), ("vaultgemma", "eager"), ("xglm", "eager"),
        ("gpt_neo", "eager"), ("llama", "sdpa"), ("gemma3_text", "sdpa"), ("biogpt", "sdpa"), ("ctrl", "sdpa"),
    ],
)  # fmt: skip
def test_an_architecture_is_read_with_the_attention_that_it_supports(
    tmp_path: Path, model_type: str, attention: str
) -> None:
    assert check(tiny(model_type), tmp_path).attention == attention


def test_the_attention_may_be_chosen(tmp_path: Path) -> None:
    assert check(tiny("llama"), tmp_path, "eager").attention == "eager"
    with pytest.raises(InputError, match=r"the model model cannot be loaded: .*no-such-attention"):
        check(tiny("llama"), tmp_path, "no-such-attention")


def test_a_model_that_overflows_in_float16_is_told_to_use_another_type(tmp_path: Path) -> None:
    model = tiny("llama")
    with torch.no_grad():
        model.get_input_embeddings().weight.mul_(1e6)
    model.save_pretrained(tmp_path)
    loaded = load_model(ModelSource("model", tmp_path, {}), "float16", "cpu")
    with pytest.raises(InputError, match=r"logits are not finite in float16: use --dtype float32"):
        FrozenLM(loaded, AutoTokenizer.from_pretrained(TINY_DIRECTORY))


@pytest.mark.parametrize("model_type", ["gpt_neo", "mistral", "gemma3_text"])
def test_an_attention_window_is_known_by_whatever_name(tmp_path: Path, model_type: str) -> None:
    lm = check(tiny(model_type), tmp_path)
    assert lm.window == WINDOW
    assert not lm.takes_trees(WINDOW + 1)


@pytest.mark.parametrize("row", ARCHITECTURES, ids=lambda row: row.model_types[-1])
def test_an_architecture_of_each_kind_is_right(tmp_path: Path, row: Architecture) -> None:
    """The last of each row; `test_every_causal_architecture_is_right_or_refused` tries all."""
    check(tiny(row.model_types[-1]), tmp_path)


@pytest.mark.parametrize(
    ("model_type", "reason"),
    [
        ("gemma3n_text", "is not supported: read with a prompt of its own token embeddings"),
        ("qwen3_5_text", "cannot be read in parts"),
        ("inkling_text", "is a mixture of experts of a kind that is not read: layer 0 has mlp.shared_experts"),
        ("jetmoe", "is a mixture of experts of a kind that is not read"),
        ("mamba", "no FFN down projection found.*--ffn"),
        ("roberta", "is not supported"),
        ("bart", "is not supported"),
    ],
)
def test_what_would_be_silently_wrong_is_refused(tmp_path: Path, model_type: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        check(tiny(model_type), tmp_path)


def test_a_window_that_no_configuration_names_is_noticed(tmp_path: Path) -> None:
    lm = check(tiny("mistral"), tmp_path)
    lm.window = None  # trees are now longer than the window, which their masks ignore
    with pytest.raises(InputError, match="is not supported"):
        check_reading_in_parts(lm)


def test_a_model_whose_activations_are_not_finite_is_not_taken_for_right(tmp_path: Path) -> None:
    model = tiny("llama")
    with torch.no_grad():
        model.get_input_embeddings().weight[20:] = torch.nan  # the first ids are those that the head is checked on
    with pytest.raises(InputError, match="relative error inf"):
        check(model, tmp_path)


@pytest.mark.slow
@pytest.mark.skipif("SOAK" not in os.environ, reason="reads a hundred models: run with SOAK=1")
def test_every_causal_architecture_is_right_or_refused(tmp_path: Path) -> None:
    """Nothing but InputError comes out, and what is right is what the table of architectures lists."""
    right, refused = set[str](), dict[str, str]()
    for model_type in causal_types():
        model = build_tiny(model_type)
        if model is None:
            continue
        try:
            check(model, tmp_path / model_type)
        except InputError as error:
            refused[model_type] = str(error)
        else:
            right.add(model_type)
    listed = {model_type for row in ARCHITECTURES for model_type in row.model_types}
    assert right == listed, refused
    assert len(refused) < 60


@pytest.mark.parametrize("row", ARCHITECTURES, ids=lambda row: row.model_types[0])
def test_the_table_of_architectures_says_where_neurons_are(row: Architecture) -> None:
    """One architecture of each row; `test_every_causal_architecture_is_right_or_refused` tries all."""
    model = tiny(row.model_types[0])
    layers = find_neurons(model)
    dense = [
        (layer.module, site.projection) for layer in layers for site in layer.sites if isinstance(site, ProjectionInput)
    ]
    experts = [site.module for layer in layers for site in layer.sites if isinstance(site, ExpertNeurons)]
    assert bool(experts) == (row in EXPERTS)
    paths = {next(path for path, module in layer.named_modules() if module is found) for layer, found in dense}
    assert paths <= {row.down_projection, "mlp.down_proj"}
    assert (row.down_projection is None) == (not paths)
    if experts:
        assert all(getattr(module, "has_gate", True) == row.gated for module in experts)
    else:
        ups = [
            module.weight.numel() // (model.config.hidden_size * site_width)
            for layer, found in dense[:1]
            for site_width in [ProjectionInput(found).width]
            for path, module in layer.named_modules()
            if _is_up_projection(path, module, found, site_width)
        ]
        assert sum(ups) == (2 if row.gated else 1)


def test_an_unknown_architecture_is_read_where_the_user_says(tmp_path: Path) -> None:
    model = tiny("llama")
    known = check(model, tmp_path).neurons
    assert check(model, tmp_path, selection=Selection("model.layers.*.mlp.down_proj")).neurons == known


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("model.layers.0.mlp.down_proj", "needs one [*]"),
        ("model.layers.*.mlp.*", "needs one [*]"),
        ("model.layers.*.ffn.w2", "matches no module of LlamaForCausalLM: its layers have model.layers.[*].self_attn"),
        ("model.layers.*.mlp.act_fn", "matches a SiLU.*, which is no down projection"),
        ("model.layers.*.mlp.up_proj", "is 48 wide behind it.*d_model is 32"),
    ],
)
def test_a_pattern_that_names_no_down_projections_is_refused(pattern: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        find_neurons(tiny("llama"), pattern)


def test_a_pattern_that_misses_a_layer_is_refused() -> None:
    with pytest.raises(
        InputError, match="matches 1 modules of DeepseekV3ForCausalLM, which has 2 layers: none in layer 1"
    ):
        find_neurons(tiny("deepseek_v3"), "model.layers.*.mlp.down_proj")


def test_a_second_ffn_in_a_layer_is_not_left_out_silently() -> None:
    model = tiny("llama")
    model.model.layers[1].add_module("second", torch.nn.ModuleDict({"down_proj": torch.nn.Linear(48, 32)}))
    with pytest.raises(InputError, match=r"several FFNs in layer 1 \(mlp.down_proj, second.down_proj\)"):
        find_neurons(model)


def _is_up_projection(path: str, module: torch.nn.Module, down: torch.nn.Module, neurons: int) -> bool:
    weight = getattr(module, "weight", None)
    inside = module is not down and "attn" not in path and "attention" not in path
    return (
        inside
        and weight is not None
        and weight.ndim == 2
        and any(size in (neurons, 2 * neurons) for size in weight.shape)
    )
