"""Heads, the residual stream, routers and features of autoencoders, against plain readings of their definitions."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from transformers import PreTrainedModel

from skilljobs.errors import InputError
from skilljobs.lm.forward import score_batch
from skilljobs.lm.model import FrozenLM
from skilljobs.lm.self_check import check_reading_in_parts
from skilljobs.lm.vocabulary import token_effects
from skilljobs.neurons.sae import read_autoencoder
from skilljobs.neurons.units import find_units
from skilljobs.selection import Selection
from skilljobs.stats.neurons import LayerNeurons, NeuronName
from tests.lm.test_forward import random_batch
from tests.neurons.test_experts import frozen, tiny

PROMPT_LENGTH, FEATURES, WIDTH = 3, 20, 32


def read(lm: FrozenLM) -> list[torch.Tensor]:
    """The activations at each prompt position, one tensor a layer: examples x positions x units."""
    torch.manual_seed(1)
    return score_batch(lm, torch.randn(PROMPT_LENGTH, lm.width), random_batch(4), "each").activations


def plain(model: PreTrainedModel, module: nn.Module, output: bool) -> list[torch.Tensor]:
    """What enters or leaves a module at the prompt positions, example by example."""
    torch.manual_seed(1)
    embed, prompt, kept = model.get_input_embeddings(), torch.randn(PROMPT_LENGTH, WIDTH), []

    def keep(_: nn.Module, given: Any, result: Any) -> None:
        found = (result[0] if isinstance(result, tuple) else result) if output else given[0]
        kept.append((found if found.ndim == 2 else found[0])[-PROMPT_LENGTH:])

    handle = module.register_forward_hook(keep)
    for example in random_batch(4):
        model(inputs_embeds=torch.cat([embed(torch.tensor(example.text)), prompt])[None])
    handle.remove()
    return kept


@pytest.mark.parametrize(
    ("model_type", "path"),
    [
        ("llama", "self_attn.o_proj"),
        ("gpt2", "attn.c_proj"),
        ("gpt_neox", "attention.dense"),
        ("opt", "self_attn.out_proj"),
    ],
)
@torch.inference_mode()
def test_heads_are_read_as_norms_of_their_outputs(model_type: str, path: str) -> None:
    model = tiny(model_type)
    lm = frozen(model, Selection.of(None, None, None, "heads"))
    assert lm.neurons == tuple(LayerNeurons(layer, 2) for layer in range(2))
    for number, found in enumerate(read(lm)):
        for row, entering in enumerate(plain(model, lm.layers[number].get_submodule(path), output=False)):
            expected = torch.stack([entering[:, :16].norm(dim=1), entering[:, 16:].norm(dim=1)], 1)
            torch.testing.assert_close(found[row], expected.double(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("model_type", ["llama", "gpt2", "gemma3_text", "mixtral", "opt"])
@torch.inference_mode()
def test_the_residual_stream_is_read_behind_each_layer(model_type: str) -> None:
    model = tiny(model_type)
    lm = frozen(model, Selection.of(None, None, None, "residual"))
    assert check_reading_in_parts(lm) < 1e-5
    for number, found in enumerate(read(lm)):
        for row, leaving in enumerate(plain(model, lm.layers[number], output=True)):
            torch.testing.assert_close(found[row], leaving.double(), atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize(
    ("model_type", "router", "is_softmax"),
    [("mixtral", "mlp.gate", True), ("gpt_oss", "mlp.router", True), ("deepseek_v3", "mlp.gate", False),
     ("qwen2_moe", "mlp.gate", True), ("glm4_moe", "mlp.gate", False), ("granitemoe", "block_sparse_moe.router", True)],
)  # fmt: skip
@torch.inference_mode()
def test_routers_are_read_as_probabilities(model_type: str, router: str, is_softmax: bool) -> None:
    model = tiny(model_type)
    lm = frozen(model, Selection.of(None, None, None, "experts"))
    found, last = read(lm)[-1], lm.layers[-1]
    assert found.shape[2] == 4
    for row, logits in enumerate(plain(model, last.get_submodule(router), output=True)):
        expected = logits.softmax(-1) if is_softmax else logits.sigmoid()
        torch.testing.assert_close(found[row], expected.double(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("model_type", "units", "reason"),
    [
        ("llama", "experts", "LlamaForCausalLM has no experts"),
        ("phimoe", "experts", "how PhimoeTopKRouter makes probabilities of its logits is not known"),
        ("llama4_text", "experts", "how Llama4Router makes probabilities of its logits is not known"),
    ],
)
def test_what_a_model_does_not_have_is_refused(model_type: str, units: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        frozen(tiny(model_type), Selection.of(None, None, None, units))


def test_unknown_units_are_refused() -> None:
    with pytest.raises(InputError, match=r"there are no units 'neuron': they are neurons, heads, .* and sae:DIR"):
        Selection.of(None, None, None, "neuron")
    with pytest.raises(InputError, match="--units heads reads none"):
        Selection.of(None, None, "0-3", "heads")


def weights(width: int = WIDTH) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return {
        "W_enc": torch.randn(width, FEATURES), "b_enc": torch.randn(FEATURES), "W_dec": torch.randn(FEATURES, width),
        "b_dec": torch.randn(width), "threshold": torch.rand(FEATURES) * 4,
    }  # fmt: skip


def saelens(folder: Path, width: int = WIDTH, **changes: Any) -> Path:
    config = {
        "architecture": "standard", "d_in": width, "d_sae": FEATURES, "apply_b_dec_to_input": True,
        "normalize_activations": "none", "reshape_activations": "none",
        "metadata": {"hook_name": "blocks.1.hook_resid_post", "hook_head_index": None}, **changes,
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cfg.json").write_text(json.dumps(config))
    save_file(weights(width), folder / "sae_weights.safetensors")
    return folder


def gemma_scope_2(folder: Path, **changes: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    config = {"architecture": "jump_relu", "hf_hook_point_in": "model.layers.1.output", "type": "sae", **changes}
    (folder / "config.json").write_text(json.dumps(config))
    save_file({name.lower(): tensor for name, tensor in weights().items()}, folder / "params.safetensors")
    return folder


def gemma_scope_1(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, Any] = {name: tensor.numpy() for name, tensor in weights().items()}
    np.savez(folder / "params.npz", **arrays)
    return folder


def expected_features(kind: str, stream: torch.Tensor) -> torch.Tensor:
    """By the formulas of the papers, one position at a time."""
    given = weights()
    rows = []
    for position in stream:
        subtracted = given["b_dec"] if kind.startswith("saelens") else 0
        before = (position - subtracted) @ given["W_enc"] + given["b_enc"]
        after = before.clamp(min=0)
        if "jump" in kind or "gemma" in kind:
            after = torch.where(before > given["threshold"], after, torch.zeros_like(after))
        if "topk" in kind:
            smallest = after.sort(descending=True).values[4]
            after = torch.where(after >= smallest, after, torch.zeros_like(after))
        rows.append(after)
    return torch.stack(rows)


def autoencoder(kind: str, folder: Path) -> Path:
    match kind:
        case "saelens jump":
            return saelens(folder, architecture="jumprelu")
        case "saelens topk":
            return saelens(folder, architecture="topk", k=5)
        case "saelens old topk":
            return saelens(folder, activation_fn_str="topk", activation_fn_kwargs={"k": 5})
        case "gemma 2":
            return gemma_scope_2(folder)
        case "gemma 1":
            return gemma_scope_1(folder / "gemma-scope-2b-pt-res" / "layer_1" / "width_16k")
    return saelens(folder)


@pytest.mark.parametrize("kind", ["saelens", "saelens jump", "saelens topk", "saelens old topk", "gemma 2", "gemma 1"])
@torch.inference_mode()
def test_features_are_those_of_the_published_formulas(tmp_path: Path, kind: str) -> None:
    model, folder = tiny("llama"), autoencoder(kind, tmp_path)
    lm = frozen(model, Selection.of(None, None, None, f"sae:{folder}"))
    assert lm.neurons == (LayerNeurons(1, FEATURES),)
    assert check_reading_in_parts(lm) < 1e-4
    (found,) = read(lm)
    streams = plain(model, lm.layers[1], output=True)
    for row, stream in enumerate(streams):
        torch.testing.assert_close(found[row], expected_features(kind, stream).double(), atol=1e-3, rtol=1e-4)
    assert (found == 0).any()
    assert (found > 0).any()
    effects = token_effects(lm, [NeuronName(1, None, 3)], 2)
    assert len(effects) == 4
    assert torch.equal(lm.sites[0].sites[0].output_direction(3), weights()["W_dec"][3])  # type: ignore[arg-type]


def test_the_stream_before_a_layer_is_that_behind_the_one_before(tmp_path: Path) -> None:
    assert read_autoencoder(str(saelens(tmp_path, hook_name="blocks.2.hook_resid_pre"))).layer == 1
    assert read_autoencoder(str(saelens(tmp_path, hook_name="model.layers.7"))).layer == 7


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"architecture": "gated"}, "architecture = 'gated', which is not supported"),
        ({"normalize_activations": "expected_average_only_in"}, "normalize_activations = 'expected_average_only_in'"),
        ({"reshape_activations": "hook_z"}, "reshape_activations = 'hook_z'"),
        ({"activation_fn_str": "tanh-relu"}, "activation_fn = 'tanh-relu'"),
        ({"hook_name": "blocks.1.hook_mlp_out"}, "reads blocks.1.hook_mlp_out: only the residual stream"),
        ({"hook_name": "blocks.0.hook_resid_pre"}, "reads blocks.0.hook_resid_pre"),
        ({"model_from_pretrained_kwargs": {"center_writing_weights": True}}, "a model with centred weights"),
        ({"architecture": "topk"}, "does not say its k"),
        ({"architecture": "topk", "k": 50}, "k = 50 of 20 features"),
        ({"hook_head_index": 3}, "hook_head_index = 3"),
    ],
)
def test_what_an_autoencoder_asks_for_is_honoured_or_refused(
    tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(InputError, match=reason):
        read_autoencoder(str(saelens(tmp_path, **changes)))


def test_other_autoencoders_are_refused(tmp_path: Path) -> None:
    for folder, reason in (
        (gemma_scope_2(tmp_path / "a", type="transcoder"), "type = 'transcoder'"),
        (gemma_scope_2(tmp_path / "b", affine_connection=True), "affine_connection = True"),
        (gemma_scope_2(tmp_path / "c", hf_hook_point_in="model.layers.1.mlp.output"), "only the residual stream"),
        (gemma_scope_1(tmp_path / "nowhere"), "does not say which layer it reads"),
        (gemma_scope_1(tmp_path / "gemma-scope-2b-pt-mlp" / "layer_1"), "does not say which layer it reads"),
        (tmp_path, "there is no autoencoder in"),
    ):
        with pytest.raises(InputError, match=reason):
            read_autoencoder(str(folder))
    damaged = saelens(tmp_path / "damaged")
    (damaged / "sae_weights.safetensors").write_bytes(b"x" * 100)
    with pytest.raises(InputError, match="cannot be read"):
        read_autoencoder(str(damaged))
    undecided = saelens(tmp_path / "undecided")
    (undecided / "cfg.json").write_text(json.dumps({"architecture": "standard", "hook_name": "model.layers.1"}))
    with pytest.raises(InputError, match="whether b_dec is subtracted"):
        read_autoencoder(str(undecided))


def test_an_autoencoder_of_another_model_is_refused(tmp_path: Path) -> None:
    folder = saelens(tmp_path, hook_name="model.layers.2")
    with pytest.raises(InputError, match="is of layer 2, and the model has 2 layers"):
        frozen(tiny("llama"), Selection.of(None, None, None, f"sae:{folder}"))
    with pytest.raises(InputError, match="reads a stream of 32, and d_model of the model is 64"):
        frozen(tiny("codegen"), Selection.of(None, None, None, f"sae:{folder}"))


def test_a_package_can_add_units(monkeypatch: pytest.MonkeyPatch) -> None:
    class Point:
        name, value = "mine", "package:mine"

        def load(self) -> Any:
            return lambda model, layers: list(layers)[:1]

    monkeypatch.setattr("skilljobs.neurons.units.entry_points", lambda group, name: [Point()] if name == "mine" else [])
    lm = frozen(tiny("llama"))
    assert find_units(lm.model, lm.sites, "mine") == lm.sites[:1]
    with pytest.raises(InputError, match="there are no units 'yours'"):
        find_units(lm.model, lm.sites, "yours")
