"""The scoring path agrees with a plain forward pass on several architectures."""

import random
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoTokenizer,
    BloomConfig,
    BloomForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from skilljobs.checkpoints.source import TINY_DIRECTORY
from skilljobs.errors import InputError
from skilljobs.lm.batch import TokenizedExample, plan_batches
from skilljobs.lm.forward import score_batch
from skilljobs.lm.model import FrozenLM
from skilljobs.lm.prefix import SHORTEST, common_length, read_prefix
from skilljobs.lm.tree import TokenTree
from skilljobs.neurons.ffn import find_neurons
from skilljobs.neurons.sites import LayerSites, ProjectionInput, Window, capture_activations
from skilljobs.stats.neurons import LayerNeurons
from tests.models import llama_config, projections

SIZES: dict[str, Any] = {
    "vocab_size": 400, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 2,
    "num_key_value_heads": 1, "max_position_embeddings": 256,
}  # fmt: skip


def build(name: str, window: int = 12) -> PreTrainedModel:
    torch.manual_seed(0)
    match name:
        case "llama":
            model: PreTrainedModel = LlamaForCausalLM(llama_config(32, 48, 3, 2))
        case "mistral":
            model = MistralForCausalLM(MistralConfig(**SIZES, sliding_window=12))
        case "qwen3":
            model = Qwen3ForCausalLM(Qwen3Config(**SIZES, head_dim=16))
        case "gemma3":
            types = ["sliding_attention", "full_attention", "sliding_attention"]
            sizes = SIZES | {"head_dim": 16, "sliding_window": window, "final_logit_softcapping": 5.0}
            model = Gemma3ForCausalLM(Gemma3TextConfig(**sizes, layer_types=types))
        case "gpt2":
            model = GPT2LMHeadModel(GPT2Config(vocab_size=400, n_embd=32, n_layer=3, n_head=2, n_positions=256))
        case "gpt-neox":
            sizes = {name: size for name, size in SIZES.items() if name != "num_key_value_heads"}
            model = GPTNeoXForCausalLM(GPTNeoXConfig(**sizes))
        case "bloom":
            model = BloomForCausalLM(BloomConfig(vocab_size=400, hidden_size=32, n_layer=3, n_head=2))
        case _:
            raise ValueError(name)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.normal_(std=0.3)
    return model.eval().requires_grad_(False)


def random_batch(count: int, seed: int = 0) -> list[TokenizedExample]:
    rng = random.Random(seed)

    def tokens(minimum: int, maximum: int) -> list[int]:
        return [rng.randrange(3, 300) for _ in range(rng.randint(minimum, maximum))]

    batch = []
    for _ in range(count):
        continuations = [[*tokens(1, 5), 1] for _ in range(rng.randint(2, 5))]
        batch.append(TokenizedExample(tokens(1, 30), continuations, rng.randrange(len(continuations)), True))
    return batch


@torch.no_grad()
def plain(
    model: PreTrainedModel, projections: list[torch.nn.Module], prompt: torch.Tensor, text: list[int], after: list[int]
) -> tuple[float, torch.Tensor]:
    """Return the summed log-probability and the activations (layers x positions x neurons) of one forward pass."""
    embed = model.get_input_embeddings()
    ids = torch.tensor(text + after)
    embedded = embed(ids)
    whole = torch.cat([embedded[: len(text)], prompt, embedded[len(text) :]])[None]
    kept: list[torch.Tensor] = []
    hooks = [layer.register_forward_pre_hook(lambda _, given: kept.append(given[0][0])) for layer in projections]
    scores = model(inputs_embeds=whole, use_cache=False).logits[0].log_softmax(-1)
    for hook in hooks:
        hook.remove()
    start = len(text) + len(prompt)
    score = sum(scores[start - 1 + place, token].item() for place, token in enumerate(after))
    first = len(text) if len(prompt) else len(text) - 1
    return score, torch.stack(kept)[:, first:start]


@pytest.mark.parametrize("name", ["llama", "mistral", "qwen3", "gemma3", "gpt2", "gpt-neox", "bloom"])
@pytest.mark.parametrize("length", [0, 4])
@pytest.mark.parametrize("way", ["trees where possible", "branches of the cache"])
def test_scores_and_activations_equal_a_plain_forward_pass(
    name: str, length: int, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = build(name)
    lm = FrozenLM(model, AutoTokenizer.from_pretrained(TINY_DIRECTORY))
    if way == "branches of the cache":
        monkeypatch.setattr(lm, "takes_trees", lambda _: False)
    torch.manual_seed(1)
    prompt = torch.randn(length, lm.width) * lm.embed(torch.arange(50)).std()
    batch = random_batch(9)
    scored = score_batch(lm, prompt, batch, "each")
    assert [layer.dtype for layer in scored.activations] == [torch.float64] * 3
    for row, example in enumerate(batch):
        for choice, after in enumerate(example.continuations):
            score, activations = plain(model, projections(model), prompt, example.text, after)
            assert scored.log_probabilities[row][choice].item() == pytest.approx(score, abs=2e-4)
        for layer, read in enumerate(scored.activations):
            torch.testing.assert_close(read[row].float(), activations[layer], atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize(
    ("name", "limit"),
    [("llama", 4096), ("qwen3", 4096), ("gpt2", 4096), ("gpt-neox", 4096), ("mistral", 12), ("gemma3", 12)],
)
def test_trees_may_be_as_long_as_the_attention_window(name: str, limit: int) -> None:
    lm = FrozenLM(build(name), AutoTokenizer.from_pretrained(TINY_DIRECTORY))
    assert lm.takes_trees(limit)
    assert not lm.takes_trees(limit + 1)


def test_a_model_that_does_not_support_custom_masks_reads_no_trees() -> None:
    """BLOOM derives its positions from the mask itself."""
    assert not FrozenLM(build("bloom"), AutoTokenizer.from_pretrained(TINY_DIRECTORY)).takes_trees(1)


@pytest.mark.parametrize("name", ["llama", "qwen3", "gpt2", "gpt-neox", "gemma3"])
def test_a_common_prefix_is_read_once_and_changes_nothing(name: str) -> None:
    model = build(name)
    lm = FrozenLM(model, AutoTokenizer.from_pretrained(TINY_DIRECTORY))
    prompt = torch.randn(3, lm.width) * lm.embed(torch.arange(50)).std()
    start = list(range(40, 40 + SHORTEST))
    batch = [replace(example, text=start + example.text) for example in random_batch(7)]
    prefix = read_prefix(lm, batch, 3)
    if name == "gemma3":  # its attention window is too short
        assert prefix is None
        return
    assert prefix is not None
    assert prefix.length == SHORTEST
    whole, cached = (score_batch(lm, prompt, batch, "mean", given) for given in (None, prefix))
    for one, other in zip(whole.activations, cached.activations, strict=True):
        torch.testing.assert_close(one, other, atol=2e-6, rtol=2e-5)
    for one, other in zip(whole.log_probabilities, cached.log_probabilities, strict=True):
        torch.testing.assert_close(one, other, atol=2e-5, rtol=1e-5)
    again = score_batch(lm, prompt, batch, "mean", prefix)
    assert all(torch.equal(one, other) for one, other in zip(cached.activations, again.activations, strict=True))


@pytest.mark.parametrize(("longest", "cached"), [(30, True), (31, False)])
def test_a_prefix_is_cached_only_where_every_example_fits_the_window(longest: int, cached: bool) -> None:
    """The texts differ in length: a short one must not lose its beginning to the padding of a long one."""
    model = build("gemma3", window=SHORTEST + 16)
    lm = FrozenLM(model, AutoTokenizer.from_pretrained(TINY_DIRECTORY))
    prompt = torch.randn(6, lm.width) * lm.embed(torch.arange(50)).std()
    texts = [list(range(40, 40 + length)) for length in (SHORTEST + 1, longest)]
    batch = [TokenizedExample(text, [[5, 6, 7, 1], [8, 1]], 0, True) for text in texts]
    prefix = read_prefix(lm, batch, 6)
    assert (prefix is not None) == cached
    scored = score_batch(lm, prompt, batch, "mean", prefix)
    for row, example in enumerate(batch):
        for choice, after in enumerate(example.continuations):
            score, activations = plain(model, projections(model), prompt, example.text, after)
            assert scored.log_probabilities[row][choice].item() == pytest.approx(score, abs=2e-4)
        read = torch.stack([layer[row, 0] for layer in scored.activations]).float()
        torch.testing.assert_close(read, activations.mean(1), atol=2e-5, rtol=2e-5)


def test_a_prefix_leaves_at_least_one_token_of_each_text() -> None:
    rows = [TokenizedExample(text, [[1]], 0, False) for text in ([5, 6, 7], [5, 6, 7, 8], [5, 6, 7, 9])]
    assert common_length(rows) == 2
    assert common_length(rows[1:]) == 3


def test_shared_tokens_of_continuations_are_read_once() -> None:
    tree = TokenTree.of([[5, 6, 7, 1], [5, 6, 1], [5, 8, 1], [9, 1], [5, 6, 7, 1], [1]])
    assert (tree.tokens, tree.parents, tree.depths) == ([5, 6, 7, 8, 9], [-1, 0, 1, 0, -1], [0, 1, 2, 1, 0])
    assert tree.rows == [0, 1, 2, 3, 0, 1, 2, 0, 1, 4, 0, 5, 0, 1, 2, 3, 0]


def test_activations_at_a_prompt_before_the_text_do_not_depend_on_the_text() -> None:
    """This is why a prompt before the text is refused."""
    model = build("llama")
    layers = find_neurons(model)
    prompt = torch.randn(4, 32)
    read = []
    for text in ([5, 6, 7], [9, 8], [40]):
        with capture_activations(layers, Window(1, slice(None), "each")) as activations:
            model(inputs_embeds=torch.cat([prompt, model.get_input_embeddings()(torch.tensor(text))])[None])
        read.append(torch.stack([layer[0, :4] for layer in activations]))
    assert torch.stack(read).std(0).max() < 1e-6


@pytest.mark.parametrize("tokens", ["mean", "last"])
def test_positions_are_averaged_or_the_last_one_is_taken_in_float64(tokens: Any) -> None:
    lm = FrozenLM(build("llama"), AutoTokenizer.from_pretrained(TINY_DIRECTORY))
    prompt, batch = torch.randn(4, 32), random_batch(3)
    each = score_batch(lm, prompt, batch, "each").activations
    other = score_batch(lm, prompt, batch, tokens).activations
    for all_positions, one in zip(each, other, strict=True):
        expected = all_positions.mean(1, keepdim=True) if tokens == "mean" else all_positions[:, -1:]
        torch.testing.assert_close(one, expected, atol=1e-15, rtol=1e-14)


def test_hooks_are_removed_after_an_error() -> None:
    model = build("llama")
    window = Window(1, slice(-1, None), "mean")
    with pytest.raises(RuntimeError, match="boom"), capture_activations(find_neurons(model), window):
        raise RuntimeError("boom")
    assert not any(layer._forward_pre_hooks for layer in projections(model))


def test_an_ffn_input_of_another_shape_is_refused() -> None:
    projection, window = torch.nn.Linear(4, 2), Window(3, slice(-1, None), "mean")
    layer = LayerSites(projection, LayerNeurons(0, 4), (ProjectionInput(projection),))
    for shape in ((7, 4), (2, 5, 4), (3, 2, 2, 4)):
        with (
            pytest.raises(InputError, match="not batch x positions x neurons"),
            capture_activations([layer], window),
        ):
            projection(torch.zeros(shape))


def test_a_model_that_flattens_batch_and_positions_is_read_like_others() -> None:
    projection, values = torch.nn.Linear(4, 2), torch.randn(3, 5, 4)
    layer = LayerSites(projection, LayerNeurons(0, 4), (ProjectionInput(projection),))
    for given in (values, values.flatten(0, 1)):
        with capture_activations([layer], Window(3, slice(1, 3), "each")) as activations:
            projection(given)
        torch.testing.assert_close(activations[0], values[:, 1:3].double())


def test_an_ffn_that_is_not_called_is_refused() -> None:
    layer = LayerSites(torch.nn.Identity(), LayerNeurons(5, 4), (ProjectionInput(torch.nn.Linear(4, 2)),))
    with (
        pytest.raises(InputError, match="does not call the FFN of layer 5"),
        capture_activations([layer], Window(1, slice(None), "mean")),
    ):
        pass


def test_neurons_of_supported_architectures() -> None:
    assert [layer.neurons for layer in find_neurons(build("gpt2"))] == [LayerNeurons(n, 128) for n in range(3)]
    assert [layer.neurons for layer in find_neurons(build("gemma3"))] == [LayerNeurons(n, 48) for n in range(3)]


def test_batches_hold_every_example_once_and_respect_the_budget() -> None:
    batch = random_batch(200)
    plan = plan_batches(batch, 4, 500)
    assert sorted(index for indices in plan for index in indices) == list(range(200))
    for indices in plan:
        width = max(len(batch[index].text) for index in indices) + 4 + max(len(batch[i].tree.tokens) for i in indices)
        assert len(indices) * width <= 500 or len(indices) == 1
    assert plan == plan_batches(batch, 4, 500)
    assert [len(indices) for indices in plan_batches(batch, 4, 1)] == [1] * 200


@pytest.mark.parametrize("cost", [0, 16, 300])
def test_batches_with_a_cost_take_the_fewest_tokens(cost: int) -> None:
    batch = random_batch(9)
    order = sorted(range(9), key=lambda index: (batch[index].size, index))

    def price(plan: list[list[int]]) -> int:
        widths = [
            max(len(batch[i].text) for i in indices) + max(len(batch[i].tree.tokens) for i in indices) + 4
            for indices in plan
        ]
        sizes = list(map(len, plan))
        if any(size * width > 200 and size > 1 for size, width in zip(sizes, widths, strict=True)):
            return 10**9
        return sum(cost + size * width for size, width in zip(sizes, widths, strict=True))

    cuts = [[place for place in range(1, 9) if number >> (place - 1) & 1] for number in range(2**8)]
    plans = [[order[start:end] for start, end in pairwise([0, *places, 9])] for places in cuts]
    found = plan_batches(batch, 4, 200, cost)
    assert price(found) == min(map(price, plans)) < 10**9
    assert [index for indices in found for index in indices] == order
    assert plan_batches([], 4, 200, cost) == plan_batches([], 4, 200) == []


def test_a_model_whose_logits_are_not_its_heads_output_is_refused() -> None:
    model = build("llama")
    forward = model.forward

    def scaled(*arguments: Any, **options: Any) -> Any:
        output = forward(*arguments, **options)
        output.logits = output.logits * 2
        return output

    model.forward = scaled
    with pytest.raises(InputError, match="its logits are not its LM head's output"):
        FrozenLM(model, AutoTokenizer.from_pretrained(TINY_DIRECTORY))


def test_the_tiny_tokenizer_round_trips_text_and_splits_digits(tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(TINY_DIRECTORY)
    for text in ("Q: What is 23 times 7?\nA: 161", "Hé\n\n\tллo 😀 x-12 -- 3.14: foo:bar", " ", "日本"):
        assert tokenizer.decode(tokenizer(text).input_ids) == text
    digits = [tokenizer.convert_tokens_to_ids(str(digit)) for digit in range(10)]
    assert tokenizer("9876543210").input_ids == digits[::-1]
    assert tokenizer("A: 12").input_ids == tokenizer("A:").input_ids + tokenizer(" 12").input_ids
