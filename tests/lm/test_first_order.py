"""First-order effects are the slopes of exact interventions, in plain float64 passes of transformers."""

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, PreTrainedModel

from skilljobs.checkpoints.source import TINY_DIRECTORY
from skilljobs.errors import InputError
from skilljobs.lm.batch import TokenizedExample
from skilljobs.lm.first_order import first_order_effects
from skilljobs.lm.forward import score_batch
from skilljobs.lm.model import FrozenLM
from skilljobs.lm.neuron_sets import Change, PlacedSet, score_sets, texts_before
from skilljobs.lm.scores import answer_scores
from skilljobs.selection import Selection
from skilljobs.stats.effect_sums import Outcome
from skilljobs.stats.neurons import NeuronName
from tests.lm.test_forward import build, random_batch
from tests.lm.test_neuron_sets import changed, frozen, mixture, plain_score, prompt_of
from tests.masked_models import build_masked, masked_tokenizer

STEPS = {"gpt2": (1e-4, 1e-5), "llama": (1e-2, 5e-3), "gemma3": (1e-2, 5e-3)}
"""The step of the differences and the tolerance: the RMS norms of transformers round to float32 in any model."""
NEURONS = (NeuronName(0, None, 3), NeuronName(1, None, 7), NeuronName(1, None, 40), NeuronName(2, None, 11))


def means_of(model: PreTrainedModel, length: int) -> list[torch.Tensor]:
    """A mean of its own for each layer, position and neuron, so that a mix-up shows."""
    generator = torch.Generator().manual_seed(5)
    width = frozen(model).neurons[0].count
    return [torch.randn(max(1, length) + 2, width, generator=generator, dtype=torch.float64) for _ in range(3)]


def plain_outcome(
    model: PreTrainedModel, prompt: torch.Tensor, example: TokenizedExample, outcome: Outcome, wrong: int
) -> float:
    right = plain_score(model, prompt, example.text, example.continuations[example.answer])
    return right - (
        plain_score(model, prompt, example.text, example.continuations[wrong]) if outcome == "margin" else 0
    )


def slope(
    model: PreTrainedModel, prompt: torch.Tensor, example: TokenizedExample, outcome: Outcome, name: NeuronName,
    mean: torch.Tensor, wrong: int, size: float,
) -> float:  # fmt: skip
    """The derivative of the outcome as a neuron moves to its mean at all prompt positions, by central differences."""
    length = len(prompt)
    first = len(example.text) - (length == 0)
    longest = len(example.text) + length + max(map(len, example.continuations))
    ends = []
    for step in (size, -size):
        outcomes = []
        for choice in (example.answer, wrong) if outcome == "margin" else (example.answer,):
            after = example.continuations[choice]
            shift = torch.full((longest,), torch.nan, dtype=torch.float64)
            shift[first : first + max(1, length)] = step * mean[: max(1, length)]
            shift = shift[: len(example.text) + length + len(after)]
            with changed(model, [name], 1 - step, {name: shift}):
                outcomes.append(plain_score(model, prompt, example.text, after))
        ends.append(outcomes[0] - (outcomes[1] if outcome == "margin" else 0.0))
    return (ends[0] - ends[1]) / (2 * size)


@pytest.mark.parametrize("way", ["trees where possible", "branches of the cache"])
@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma3"])
@pytest.mark.parametrize(("length", "outcome"), [(4, "margin"), (0, "margin"), (3, "target_logprob")])
def test_effects_are_slopes_of_exact_interventions(
    name: str, length: int, outcome: Outcome, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = build(name).double()
    lm, batch = frozen(model), random_batch(3)
    if way == "branches of the cache":
        monkeypatch.setattr(lm, "takes_trees", lambda _: False)
    prompt, means = prompt_of(lm, length).double(), means_of(model, length)
    found = first_order_effects(lm, prompt, batch, means, outcome)
    assert found.finite.all()
    step, tolerance = STEPS[name]
    largest = 0.0
    for row, example in enumerate(batch):
        scores = [plain_score(model, prompt, example.text, after) for after in example.continuations]
        wrong = max((c for c in range(len(scores)) if c != example.answer), key=scores.__getitem__)
        expected = scores[example.answer] - (scores[wrong] if outcome == "margin" else 0.0)
        assert found.outcomes[row].item() == pytest.approx(expected, abs=1e-4)
        for neuron in NEURONS:
            exact = slope(model, prompt, example, outcome, neuron, means[neuron.layer][:, neuron.neuron], wrong, step)
            estimated = found.layers[neuron.layer][row, neuron.neuron].item()
            assert estimated == pytest.approx(exact, rel=tolerance, abs=tolerance)
            largest = max(largest, abs(exact))
    assert largest > 0.05, "the neurons matter"


@pytest.mark.parametrize("length", [4, 0])
def test_ablation_by_a_part_converges_to_the_estimate(length: int) -> None:
    """`ablate`'s own pass, with neurons moved by 1, 1/10 and 1/100 of the way to their mean, at all positions at once.

    The error is of second order, so that it shrinks with the part, in every layer.
    """
    model = build("gpt2").double()
    lm, batch = frozen(model), random_batch(4)
    prompt, means = prompt_of(lm, length).double(), means_of(model, length)
    found = first_order_effects(lm, prompt, batch, means, "target_logprob")
    placed = [PlacedSet.of(lm, [name]) for name in NEURONS]
    estimated = np.array([found.layers[name.layer][:, name.neuron].mean().item() for name in NEURONS])
    errors = []
    for part in (1.0, 0.1, 0.01):

        def shift(layer: int, places: torch.Tensor, part: float = part) -> torch.Tensor:
            return part * means[layer][:, places].T[None]

        change = Change(1 - part, shift)
        texts = texts_before(lm, prompt, batch, False)
        scored = score_sets(lm, prompt, batch, [*placed, PlacedSet({})], change, texts)
        scores = [score.target_logprob for score in answer_scores(scored, batch * (len(placed) + 1))]
        mean = np.array(scores).reshape(-1, len(batch)).mean(1)
        errors.append(np.abs((mean[:-1] - mean[-1]) / part - estimated))
    assert (errors[0] > 0.01 * np.abs(estimated)).any(), "the whole way is not linear"
    assert (errors[1] < 0.3 * errors[0] + 1e-3).all()
    assert (errors[2] < 5e-3 * np.abs(estimated) + 1e-3).all(), "log-probabilities are float32"


def test_an_example_has_the_same_effects_alone_and_in_a_batch() -> None:
    model = build("llama")
    lm, batch = frozen(model), random_batch(5)
    prompt, means = prompt_of(lm, 4), means_of(model, 4)
    whole = first_order_effects(lm, prompt, batch, means, "margin")
    for row, example in enumerate(batch):
        alone = first_order_effects(lm, prompt, [example], means, "margin")
        for layer, expected in zip(whole.layers, alone.layers, strict=True):
            torch.testing.assert_close(layer[row], expected[0], rtol=1e-3, atol=1e-4)


def test_the_outcome_is_the_run_s_and_nothing_is_left_in_the_model() -> None:
    model = build("gemma3")
    lm, batch = frozen(model), random_batch(4)
    prompt = prompt_of(lm, 4)
    before = score_batch(lm, prompt, batch, None)
    found = first_order_effects(lm, prompt, batch, means_of(model, 4), "margin")
    margins = [score.margin for score in answer_scores(before, batch)]
    torch.testing.assert_close(found.outcomes, torch.tensor(margins, dtype=torch.float64), rtol=1e-5, atol=1e-5)
    after = score_batch(lm, prompt, batch, None)
    assert torch.equal(before.token_log_probabilities.wait(), after.token_log_probabilities.wait())
    assert not any(module._forward_pre_hooks for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_an_example_that_is_not_finite_is_named_and_leaves_the_others_alone() -> None:
    model = build("llama")
    lm, batch = frozen(model), random_batch(4)
    prompt, means = prompt_of(lm, 4), means_of(model, 4)
    expected = first_order_effects(lm, prompt, batch, means, "target_logprob")
    used = {token for example in batch for tokens in (example.text, *example.continuations) for token in tokens}
    spoilt = next(token for token in range(3, 400) if token not in used)
    batch[2].text[0] = spoilt
    with torch.no_grad():
        model.get_input_embeddings().weight[spoilt] = torch.nan
    found = first_order_effects(lm, prompt, batch, means, "target_logprob")
    assert found.finite.tolist() == [True, True, False, True]
    for layer, before in zip(found.layers, expected.layers, strict=True):
        torch.testing.assert_close(layer[found.finite], before[found.finite], rtol=1e-3, atol=1e-4)


def test_what_it_is_not_right_for_is_refused() -> None:
    lm, batch = frozen(mixture()), random_batch(2)
    prompt = prompt_of(lm, 2)
    with pytest.raises(InputError, match="mixture of experts"):
        first_order_effects(lm, prompt, batch, [], "margin")
    tokenizer = AutoTokenizer.from_pretrained(TINY_DIRECTORY)
    for units in ("heads", "residual"):
        other = FrozenLM(build("llama"), tokenizer, Selection(units=units))
        with pytest.raises(InputError, match="no other units"):
            first_order_effects(other, prompt, batch, [], "margin")
    masked = FrozenLM(build_masked("bert"), masked_tokenizer())
    with pytest.raises(InputError, match="masked language model"):
        first_order_effects(masked, prompt, batch, [], "margin")
    model = build("llama")
    open_ended = TokenizedExample([5, 6], [[7, 1]], 0, False)
    with pytest.raises(InputError, match="--outcome target_logprob"):
        first_order_effects(frozen(model), prompt, [open_ended], means_of(model, 2), "margin")
