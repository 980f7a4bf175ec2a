"""Sets of neurons that are changed side by side score as each does alone, in a plain pass of transformers."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer, PreTrainedModel, Qwen2MoeConfig, Qwen2MoeForCausalLM

from skilljobs.checkpoints.source import TINY_DIRECTORY
from skilljobs.errors import InputError
from skilljobs.lm.batch import TokenizedExample
from skilljobs.lm.forward import score_batch
from skilljobs.lm.model import FrozenLM
from skilljobs.lm.neuron_sets import Change, PlacedSet, score_sets, texts_before
from skilljobs.lm.position_kinds import answer_kind, kind_count, text_kind
from skilljobs.lm.position_sums import PositionSums, add_positions
from skilljobs.neurons.changes import SiteChange
from skilljobs.neurons.experts import ExpertNeurons
from skilljobs.neurons.interventions import Intervention, check_changeable
from skilljobs.selection import Selection
from skilljobs.stats.neurons import NeuronName
from tests.lm.test_forward import build, random_batch
from tests.models import projections

ARCHITECTURES = ["llama", "gemma3", "gpt2", "bloom"]
SETS = [[], [NeuronName(0, None, 3)], [NeuronName(1, None, 7), NeuronName(0, None, 3), NeuronName(1, None, 40)], []]


def frozen(model: PreTrainedModel) -> FrozenLM:
    return FrozenLM(model, AutoTokenizer.from_pretrained(TINY_DIRECTORY))


def mixture() -> PreTrainedModel:
    """A dense layer, then two with a shared expert and four of which a token reads two."""
    torch.manual_seed(3)
    config = Qwen2MoeConfig(
        vocab_size=400, hidden_size=16, intermediate_size=12, moe_intermediate_size=6, num_hidden_layers=3,
        shared_expert_intermediate_size=10, num_attention_heads=2, num_key_value_heads=2, num_experts=4,
        num_experts_per_tok=2, mlp_only_layers=[0], max_position_embeddings=256,
    )  # fmt: skip
    model = Qwen2MoeForCausalLM(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.5)
    return model.eval().requires_grad_(False)


def prompt_of(lm: FrozenLM, length: int) -> torch.Tensor:
    torch.manual_seed(1)
    return torch.randn(length, lm.width) * lm.embed(torch.arange(50)).std()


def constant(value: float, kinds: int) -> Any:
    return lambda layer, places: torch.full((1, len(places), kinds), value)


def scored(lm: FrozenLM, prompt: torch.Tensor, batch: list[TokenizedExample], change: Change, sets: Any = SETS) -> Any:
    placed = [PlacedSet.of(lm, neurons) for neurons in sets]
    texts = texts_before(lm, prompt, batch, change.everywhere)
    found = score_sets(lm, prompt, batch, placed, change, texts).log_probabilities
    return [found[start : start + len(batch)] for start in range(0, len(found), len(batch))]


@contextmanager
def changed(
    model: PreTrainedModel, neurons: list[NeuronName], scale: float, shifts: dict[NeuronName, torch.Tensor]
) -> Iterator[None]:
    """Change neurons by hooks of the simplest kind; `shifts` has a number for each position of the whole sequence,
    NaN where nothing is changed."""
    hooks = []
    for name in neurons:

        def hook(_: Any, given: tuple[torch.Tensor], name: NeuronName = name) -> tuple[torch.Tensor]:
            values = given[0].clone()
            shift = shifts[name]
            values[..., name.neuron] = torch.where(
                shift.isnan(), values[..., name.neuron], scale * values[..., name.neuron] + shift
            )
            return (values,)

        hooks.append(projections(model)[name.layer].register_forward_pre_hook(hook))
    try:
        yield
    finally:
        for handle in hooks:
            handle.remove()


@torch.no_grad()
def plain_score(model: PreTrainedModel, prompt: torch.Tensor, text: list[int], after: list[int]) -> float:
    embedded = model.get_input_embeddings()(torch.tensor(text + after))
    whole = torch.cat([embedded[: len(text)], prompt, embedded[len(text) :]])[None]
    logits = model(inputs_embeds=whole, use_cache=False).logits[0].log_softmax(-1)
    start = len(text) + len(prompt)
    return sum(logits[start - 1 + place, token].item() for place, token in enumerate(after))


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize(("length", "everywhere"), [(0, False), (4, False), (0, True), (4, True)])
@pytest.mark.parametrize("scale", [0.0, 2.5])
def test_sets_score_as_plain_passes_with_hooks(name: str, length: int, everywhere: bool, scale: float) -> None:
    """The shift differs by neuron and kind of position, so that a mix-up of rows, neurons or positions shows."""
    model = build(name)
    lm, batch, kinds = frozen(model), random_batch(5), kind_count(length)
    prompt = prompt_of(lm, length)
    table = torch.randn(3, 200, kinds, generator=torch.Generator().manual_seed(2))
    change = Change(scale, lambda layer, places: table[layer, places][None], everywhere)
    by_set = scored(lm, prompt, batch, change)
    untouched = scored(lm, prompt, batch, change, [[]])[0]
    moved = 0.0
    for neurons, of_set in zip(SETS, by_set, strict=True):
        for row, example in enumerate(batch):
            for choice, after in enumerate(example.continuations):
                text_length, total = len(example.text), len(example.text) + length + len(after)
                where = torch.full((total,), answer_kind(length) if everywhere else -1)
                where[:text_length] = text_kind(length) if everywhere else -1
                where[0] = -1
                if length:
                    where[text_length : text_length + length] = torch.arange(length)
                else:
                    where[text_length - 1] = 0
                shifts = {
                    n: torch.where(where >= 0, table[n.layer, n.neuron][where.clamp(min=0)], torch.nan) for n in neurons
                }
                with changed(model, neurons, scale, shifts):
                    expected = plain_score(model, prompt, example.text, after)
                assert of_set[row][choice].item() == pytest.approx(expected, abs=3e-4)
                moved = max(moved, abs(expected - untouched[row][choice].item()))
    assert moved > 0.05, "the sets change something"


@pytest.mark.parametrize("name", [*ARCHITECTURES, "mixture"])
@pytest.mark.parametrize("everywhere", [False, True])
def test_nothing_changed_scores_the_same_bits_in_equal_batches(name: str, everywhere: bool) -> None:
    lm, batch = frozen(mixture() if name == "mixture" else build(name)), random_batch(6)
    prompt = prompt_of(lm, 4)
    expert = [NeuronName(1, 2, 3)] if name == "mixture" else []
    as_it_is = Change(1.0, constant(0.0, 6), everywhere)
    empty = scored(lm, prompt, batch, as_it_is, [[], [], []])
    same = scored(lm, prompt, batch, as_it_is, [[NeuronName(0, None, 3)], [NeuronName(2, None, 1), *expert], []])
    run = score_batch(lm, prompt, batch, None).log_probabilities
    for row in range(len(batch)):
        for copy in range(3):
            assert torch.equal(empty[copy][row], same[copy][row])
            torch.testing.assert_close(empty[copy][row], run[row], rtol=1e-5, atol=0)
    if everywhere:  # the passes are those of the run
        alone = scored(lm, prompt, batch, as_it_is, [[]])[0]
        assert all(torch.equal(one, other) for one, other in zip(alone, run, strict=True))


def cached_pass(model: PreTrainedModel, embedded: torch.Tensor, cache: Any) -> Any:
    return model(inputs_embeds=embedded[None], past_key_values=cache, use_cache=True)


@torch.no_grad()
@pytest.mark.parametrize("scale", [0.0, -1.5])
def test_neurons_of_experts_are_scaled_as_by_their_weights(scale: float) -> None:
    """The oracle scales columns of down projections while transformers reads the prompt, and at no other time."""
    model = mixture()
    model.set_experts_implementation("eager")
    neurons = [NeuronName(1, 2, 3), NeuronName(1, 0, 5), NeuronName(2, 3, 0), NeuronName(1, None, 4)]
    lm, batch = frozen(mixture()), random_batch(4)
    prompt = prompt_of(lm, 5)
    _, by_set = scored(lm, prompt, batch, Change(scale, constant(0.0, 7)), [[], neurons])
    weights = dict(model.named_parameters())
    for row, example in enumerate(batch):
        for choice, after in enumerate(example.continuations):
            embed = model.get_input_embeddings()
            cache = cached_pass(model, embed(torch.tensor(example.text)), None).past_key_values
            before = {name: weight.clone() for name, weight in weights.items()}
            for name in neurons:
                mlp = model.model.layers[name.layer].mlp
                if name.expert is None:
                    mlp.shared_expert.down_proj.weight[:, name.neuron] *= scale
                else:
                    mlp.experts.down_proj[name.expert, :, name.neuron] *= scale
            output = cached_pass(model, prompt, cache)
            for name, weight in weights.items():
                weight.copy_(before[name])
            last = output.logits[0, -1:]
            rest = cached_pass(model, embed(torch.tensor(after[:-1], dtype=torch.long)), output.past_key_values) \
                .logits[0] if len(after) > 1 else last[:0]  # fmt: skip
            predicted = torch.cat([last, rest]).log_softmax(-1)
            expected = sum(predicted[place, token].item() for place, token in enumerate(after))
            assert by_set[row][choice].item() == pytest.approx(expected, abs=3e-4)


def test_a_neuron_of_an_expert_that_a_token_is_not_sent_to_is_set_too() -> None:
    """Its activation there is 0, and what it is set to is added to the stream; the other rows stay as they are."""
    lm = frozen(mixture())
    site = lm.sites[1].sites[1]
    assert isinstance(site, ExpertNeurons)
    hidden = torch.randn(2 * 3, 16)
    chosen, weights = torch.tensor([[2, 0], [1, 3], [0, 1], [2, 3], [3, 0], [1, 2]]), torch.rand(6, 2)
    kinds = torch.tensor([[-1, 0, 1], [-1, 0, 1]])
    shift = torch.tensor([[4.0, -1.0]])
    plain = site.module(hidden, chosen, weights)
    outputs = []
    for value in (0.0, 1.0):
        change = SiteChange(torch.tensor([1]), torch.tensor([2 * 6 + 3]), 0.0, value * shift)
        with Intervention([(site, change)]) as intervention:
            intervention.begin_pass(kinds)
            outputs.append(site.module(hidden, chosen, weights))
    torch.testing.assert_close(outputs[0][:5], plain[:5])
    assert not torch.allclose(outputs[0][5], plain[5]), "the last token is sent to the expert"
    added = torch.zeros(6, 16)
    added[4], added[5] = 4.0 * site.directions(2)[3], -1.0 * site.directions(2)[3]
    torch.testing.assert_close(outputs[1], outputs[0] + added)


@pytest.mark.parametrize("name", ["llama", "bloom", "mixture"])
def test_sums_by_position_are_those_of_plain_reading(name: str) -> None:
    lm, batch = frozen(mixture() if name == "mixture" else build(name)), random_batch(6)
    prompt = prompt_of(lm, 3)
    sums = PositionSums.empty(lm, 3)
    for part in (batch[:2], batch[2:]):
        add_positions(lm, prompt, part, sums)
    each = score_batch(lm, prompt, batch, "each").activations
    for layer, expected in zip(sums.layers, each, strict=True):
        torch.testing.assert_close(layer[:3], expected.sum(0), rtol=1e-5, atol=1e-5)
    assert sums.counts[:3].tolist() == [6, 6, 6]
    assert sums.counts[3] == sum(len(example.text) - 1 for example in batch)
    if name != "bloom":
        assert sums.counts[4] == sum(len(example.tree.tokens) for example in batch)


def test_the_mean_of_text_tokens_leaves_the_first_token_alone() -> None:
    model = build("llama")
    lm, batch = frozen(model), random_batch(3)
    sums = PositionSums.empty(lm, 2)
    add_positions(lm, prompt_of(lm, 2), batch, sums)
    kept: list[torch.Tensor] = []
    hook = projections(model)[2].register_forward_pre_hook(lambda _, given: kept.append(given[0][0]))
    for example in batch:
        model(torch.tensor([example.text]), use_cache=False)
    hook.remove()
    expected = sum(values[1:].double().sum(0) for values in kept)
    torch.testing.assert_close(sums.layers[2][2], expected, rtol=1e-5, atol=1e-5)


def test_units_that_are_not_neurons_are_refused() -> None:
    model = build("llama")
    for units in ("heads", "residual"):
        lm = FrozenLM(model, AutoTokenizer.from_pretrained(TINY_DIRECTORY), Selection(units=units))
        with pytest.raises(InputError, match="cannot be silenced"):
            check_changeable(lm.sites)
