"""Masked language models: the prompt in front, the answer at the mask token."""

from pathlib import Path

import pytest
import torch
from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

from skilljobs.checkpoints.source import ModelSource
from skilljobs.errors import InputError
from skilljobs.lm.load import load_model
from skilljobs.lm.losses import prompt_loss
from skilljobs.lm.masked import label_problems, tokenize_for, tokenize_masked
from skilljobs.lm.model import FrozenLM
from skilljobs.lm.self_check import check_reading_in_parts
from skilljobs.lm.trace import read_activations
from skilljobs.lm.vocabulary import token_effects
from skilljobs.neurons.architectures import MASKED_MODELS
from skilljobs.stats.neurons import NeuronName
from skilljobs.tasks.base import Example
from tests.masked_models import build_masked, masked_tokenizer

LARGEST_ERROR = 1e-5


def load(model_type: str, folder: Path) -> FrozenLM:
    model = build_masked(model_type)
    model.save_pretrained(folder)
    source = ModelSource("model", folder, {"architectures": [type(model).__name__]})
    return FrozenLM(load_model(source, "float32", "cpu"), masked_tokenizer())


def example(text: str, *choices: str, answer: int = 0) -> Example:
    return Example("one", "one", "test", text, choices=choices, answer=answer)


@pytest.mark.parametrize("model_type", [row.model_types[0] for row in MASKED_MODELS] + ["roberta", "deberta-v2"])
def test_an_encoder_is_read_as_in_a_plain_forward_pass(tmp_path: Path, model_type: str) -> None:
    assert check_reading_in_parts(load(model_type, tmp_path)) <= LARGEST_ERROR


def test_wrong_positions_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check compares with a pass over ids, so that a prompt in another place is refused."""
    lm = load("bert", tmp_path)
    monkeypatch.setattr("skilljobs.lm.model.opening_length", lambda tokenizer: 0)
    with pytest.raises(InputError, match="is not supported"):
        check_reading_in_parts(lm)


@pytest.mark.slow
def test_every_masked_language_model_is_right_or_refused(tmp_path: Path) -> None:
    right, refused = set[str](), dict[str, str]()
    for model_type in sorted(MODEL_FOR_MASKED_LM_MAPPING_NAMES):
        try:
            model = build_masked(model_type)
        except Exception:  # transformers does not build it in these sizes
            continue
        if not type(model).__name__.endswith("ForMaskedLM"):
            continue
        try:
            error = check_reading_in_parts(load(model_type, tmp_path / model_type))
            assert error <= LARGEST_ERROR, model_type
        except InputError as reason:
            refused[model_type] = str(reason)
        else:
            right.add(model_type)
    assert right == {model_type for row in MASKED_MODELS for model_type in row.model_types}, refused


def test_the_answer_is_read_at_the_mask_token_wherever_it_stands() -> None:
    tokenizer = masked_tokenizer()
    behind, inside = tokenize_masked(
        tokenizer, [example("the film was", " good", " bad", answer=1), example("[MASK] film", " good", " bad")]
    )
    shown = [tokenizer.convert_ids_to_tokens(row.text) for row in (behind, inside)]
    assert shown == [["<s>", "the", "film", "was", "[MASK]", "</s>"], ["<s>", "[MASK]", "film", "</s>"]]
    assert [tokenizer.convert_ids_to_tokens(tokens) for tokens in behind.continuations] == [["good"], ["bad"]]
    assert (behind.answer, behind.tree.tokens) == (1, [])


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (
            example("the film", " very good", " bad"),
            "the answer ' very good' is 2 tokens, and a label word must be one",
        ),
        (example("the film", " awful", " bad"), "the tokenizer does not know the answer ' awful'"),
        (example("the film", "bad", " bad"), "the choices 'bad' and ' bad' are the same label word"),
        (example("[MASK] film [MASK]", " good", " bad"), "it holds the mask token 2 times"),
    ],
)
def test_what_cannot_be_read_at_one_mask_token_is_named(row: Example, reason: str) -> None:
    problems = label_problems(masked_tokenizer(), [row])
    assert problems["one"].startswith(reason)
    with pytest.raises(InputError, match="the example 'one': "):
        tokenize_masked(masked_tokenizer(), [row])


def test_a_tokenizer_without_a_mask_token_is_refused() -> None:
    tokenizer = masked_tokenizer()
    tokenizer.mask_token = None
    with pytest.raises(InputError, match="has no mask token"):
        label_problems(tokenizer, [example("the film", " good", " bad")])


def test_the_gradient_of_the_prompt_is_right(tmp_path: Path) -> None:
    lm = load("roberta", tmp_path)
    lm.model.double()
    batch = tokenize_for(lm, [example("the film was very", " good", " bad"), example("it was", " good", " bad")], None)
    vectors = torch.randn(2, lm.width, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for loss in ("target", "choices"):
        kept = vectors.clone().requires_grad_(True)
        (gradient,) = torch.autograd.grad(prompt_loss(lm, kept, batch, loss), kept)
        (again,) = torch.autograd.grad(prompt_loss(lm, kept, batch, loss, recompute=True), kept)
        assert torch.equal(gradient, again)
        step = torch.zeros_like(vectors)
        step[1, 3] = 1e-2
        with torch.no_grad():
            slope = (prompt_loss(lm, vectors + step, batch, loss) - prompt_loss(lm, vectors - step, batch, loss)) / 2e-2
        assert gradient[1, 3].item() == pytest.approx(slope.item(), rel=1e-2)


def test_traced_activations_are_those_at_the_prompt(tmp_path: Path) -> None:
    lm = load("bert", tmp_path)
    batch = tokenize_for(lm, [example("the film was very", " good", " bad"), example("it was", " good", " bad")], None)
    prompt = torch.randn(3, lm.width)
    layers = read_activations(lm, prompt, batch, "each")
    assert [layer.shape for layer in layers] == [(2, 3, 48)] * 2
    (alone,) = read_activations(lm, prompt, batch[1:], "each")[:1]
    assert torch.allclose(alone[0], layers[0][1], atol=1e-5)
    assert not torch.allclose(layers[1][0], layers[1][1], atol=1e-2), "the prompt sees the text behind it"


def test_the_tokens_that_a_neuron_promotes_do_not_hold_what_the_head_adds_by_itself(tmp_path: Path) -> None:
    lm = load("bert", tmp_path)
    lm.head.transform.transform.LayerNorm.bias.data += 100 * torch.randn(lm.width)  # type: ignore[union-attr, operator]
    promoted = [[effect.token for effect in token_effects(lm, [NeuronName(0, None, neuron)], 3)] for neuron in range(4)]
    assert any(tokens != promoted[0] for tokens in promoted[1:])
