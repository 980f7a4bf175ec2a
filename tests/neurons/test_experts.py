"""The neurons of mixtures of experts, against a plain reading of the definition."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import linear
from transformers import AutoTokenizer, PreTrainedModel
from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS

from skilljobs.checkpoints.neuron_count import neurons_read
from skilljobs.checkpoints.source import TINY_DIRECTORY, ModelSource
from skilljobs.errors import InputError
from skilljobs.lm.forward import score_batch
from skilljobs.lm.model import FrozenLM
from skilljobs.neurons.experts import ExpertNeurons
from skilljobs.selection import Selection
from skilljobs.stats.neurons import LayerNeurons
from tests.architectures import build_tiny
from tests.lm.test_forward import random_batch

MIXTURES = [
    "mixtral", "qwen2_moe", "qwen3_moe", "olmoe", "deepseek_v3", "gpt_oss", "llama4_text", "glm4_moe", "granitemoe",
    "phimoe", "ernie4_5_moe", "hunyuan_v1_moe",
]  # fmt: skip
PROMPT_LENGTH = 4


def tiny(model_type: str) -> PreTrainedModel:
    model = build_tiny(model_type)
    assert model is not None
    return model


def frozen(model: PreTrainedModel, selection: Selection | None = None) -> FrozenLM:
    return FrozenLM(model, AutoTokenizer.from_pretrained(TINY_DIRECTORY), selection)


class Oracle:
    """Every activation of one plain pass: what enters each down projection, times the weight of its expert."""

    def __init__(self, lm: FrozenLM) -> None:
        self.lm = lm
        self.layers: list[torch.Tensor] = []

    def read(self, embeddings: torch.Tensor) -> list[torch.Tensor]:
        """Positions x neurons of each layer, for embeddings of one sequence."""
        seen: dict[int, dict[int, torch.Tensor]] = {}
        handles = []
        for number, layer in enumerate(self.lm.sites):
            for place, site in enumerate(layer.sites):
                found = seen.setdefault(number, {})
                if isinstance(site, ExpertNeurons):
                    hook = _plain_llama4 if type(site.module).__name__ == "Llama4TextExperts" else _plain_experts
                    handles.append(site.module.register_forward_pre_hook(hook(found, place)))
                else:
                    handles.append(site.projection.register_forward_pre_hook(_plain_dense(found, place)))  # type: ignore[attr-defined]
        self.lm.model(inputs_embeds=embeddings[None])
        for handle in handles:
            handle.remove()
        return [torch.cat([found[place] for place in sorted(found)], -1) for found in seen.values()]


def _plain_dense(found: dict[int, torch.Tensor], place: int) -> Any:
    return lambda _, given: found.__setitem__(place, given[0].flatten(0, -2))


def _plain_llama4(found: dict[int, torch.Tensor], place: int) -> Any:
    def hook(experts: Any, given: tuple[torch.Tensor, ...]) -> None:
        parts = []
        for expert, states in enumerate(given[0].view(experts.num_experts, -1, experts.hidden_size)):
            gate, up = (states @ experts.gate_up_proj[expert]).chunk(2, -1)
            parts.append(up * experts.act_fn(gate))
        found[place] = torch.cat(parts, -1)

    return hook


def _plain_experts(found: dict[int, torch.Tensor], place: int) -> Any:
    """Token by token, expert by expert."""

    def hook(experts: Any, given: tuple[torch.Tensor, ...]) -> None:
        hidden, chosen, weights = given
        rows = []
        for token in range(len(hidden)):
            parts = []
            for expert in range(experts.num_experts):
                name = "gate_up_proj" if experts.has_gate else "up_proj"
                up = getattr(experts, name)[expert]
                bias = getattr(experts, f"{name}_bias")[expert] if experts.has_bias else None
                before = linear(hidden[token], up.T if experts.is_transposed else up, bias)
                after = experts._apply_gate(before[None])[0] if experts.has_gate else experts.act_fn(before)
                parts.append(after * weights[token][chosen[token] == expert].sum())
            rows.append(torch.cat(parts))
        found[place] = torch.stack(rows)

    return hook


@pytest.mark.parametrize("model_type", MIXTURES)
@torch.inference_mode()
def test_activations_of_experts_are_those_of_a_plain_pass(model_type: str) -> None:
    lm = frozen(tiny(model_type))
    prompt, batch = torch.randn(PROMPT_LENGTH, lm.width), random_batch(5)
    scored = score_batch(lm, prompt, batch, "each")
    experts = 0
    for row, example in enumerate(batch):
        embeddings = torch.cat([lm.embed(torch.tensor(example.text)), prompt])
        for found, expected, neurons in zip(scored.activations, Oracle(lm).read(embeddings), lm.neurons, strict=True):
            experts += len(neurons.experts)
            assert expected.shape[1] == neurons.count
            error = (found[row] - expected[-PROMPT_LENGTH:]).abs().max()
            assert error <= 1e-5 * (1 + expected.abs().max()), (model_type, neurons.layer)
    assert experts > 0


@pytest.mark.parametrize("model_type", ["mixtral", "gpt_oss", "qwen2_moe", "granitemoe"])
@torch.inference_mode()
def test_the_forward_pass_that_is_read_equals_that_of_transformers(model_type: str) -> None:
    model, ids = tiny(model_type), torch.arange(5, 25)[None]
    model.set_experts_implementation("eager")
    expected = model(ids).logits
    frozen(model)
    assert model.config._experts_implementation == "skilljobs"
    torch.testing.assert_close(model(ids).logits, expected, atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_an_expert_that_is_not_chosen_has_activation_0() -> None:
    lm = frozen(tiny("mixtral"))
    activations = score_batch(lm, torch.randn(1, lm.width), random_batch(6), "each").activations[0][:, 0]
    by_expert = activations.unflatten(1, (4, -1)).abs().sum(2) > 0
    assert by_expert.sum(1).tolist() == [2] * 6  # two experts a token


@torch.inference_mode()
def test_a_selection_reads_the_same_numbers() -> None:
    model = tiny("glm4_moe")
    whole, narrow = frozen(model), frozen(model, Selection.of(None, "1", "1-2"))
    prompt, batch = torch.randn(PROMPT_LENGTH, whole.width), random_batch(4)
    (found,) = score_batch(narrow, prompt, batch, "mean").activations
    expected = score_batch(whole, prompt, batch, "mean").activations[1]
    assert narrow.neurons == (LayerNeurons(1, 24, (1, 2), 24),)
    places = [whole.neurons[1].place(neuron, expert) for expert in (None, 1, 2) for neuron in range(24)]
    assert torch.equal(found, expected[..., places])


@pytest.mark.parametrize(
    ("model_type", "layers", "experts", "reason"),
    [
        ("mixtral", "1-2", None, "--layers 1-2: the model has 2 layers"),
        ("mixtral", None, "2-4", "--experts 2-4: the model has 4 experts"),
        ("llama", None, "0", "--experts 0-0: the model has no experts"),
    ],
)
def test_what_the_model_does_not_have_cannot_be_chosen(
    model_type: str, layers: str | None, experts: str | None, reason: str
) -> None:
    with pytest.raises(InputError, match=reason):
        frozen(tiny(model_type), Selection.of(None, layers, experts))


def test_experts_that_are_not_computed_through_the_registry_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    lm = frozen(tiny("mixtral"))
    lm.model.set_experts_implementation("eager")
    with pytest.raises(InputError, match="does not call the FFN of layer 0"):
        score_batch(lm, torch.randn(1, lm.width), random_batch(2), "mean")


@pytest.mark.parametrize("model_type", [*MIXTURES, "llama", "gpt2"])
def test_neurons_are_counted_from_the_files_alone(tmp_path: Path, model_type: str) -> None:
    model = tiny(model_type)
    model.save_pretrained(tmp_path)
    source = ModelSource("model", tmp_path, model.config.to_dict())
    for selection in (Selection(), Selection.of(None, "1", None), Selection.of(None, None, "0-1")):
        if selection.experts is None or model_type not in ("llama", "gpt2"):
            expected = sum(layer.count for layer in frozen(model, selection).neurons)
            assert neurons_read(source, selection) == expected, selection


def test_gradients_flow_through_the_forward_pass_that_is_read() -> None:
    model, prompt = tiny("mixtral"), torch.randn(1, 3, 32, requires_grad=True)
    gradients = []
    for name in ("eager", "skilljobs"):
        assert name == "eager" or name in ALL_EXPERTS_FUNCTIONS
        model.set_experts_implementation(name)
        (gradient,) = torch.autograd.grad(model(inputs_embeds=prompt).logits.square().sum(), prompt)
        gradients.append(gradient)
    torch.testing.assert_close(*gradients, atol=1e-4, rtol=1e-4)


def test_the_direction_of_an_expert_neuron_is_its_column_of_the_down_projection() -> None:
    for model_type in ("mixtral", "gpt_oss"):
        lm = frozen(tiny(model_type))
        site = lm.sites[0].sites[-1]
        assert isinstance(site, ExpertNeurons)
        one_hot = nn.functional.one_hot(torch.tensor(7), site.width).float()
        down = site.module.down_proj[2]  # type: ignore[index]
        matrix = down.T if getattr(site.module, "is_transposed", False) else down
        assert torch.equal(site.output_direction(2 * site.width + 7), linear(one_hot, matrix))
