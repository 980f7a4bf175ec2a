"""Exact match equals a plain greedy loop: one example at a time, without a cache, through the whole model."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest
import torch
from transformers import AutoTokenizer

from skilljobs.checkpoints.source import TINY_DIRECTORY, find_model
from skilljobs.lm.batch import plan_batches, tokenize
from skilljobs.lm.greedy import EXTRA_TOKENS, exact_matches
from skilljobs.lm.load import load_model, load_tokenizer
from skilljobs.lm.model import FrozenLM
from skilljobs.lm.prefix import read_prefix
from skilljobs.plan.reading import read_examples
from skilljobs.tasks.arithmetic import Arithmetic
from skilljobs.tasks.base import Example
from tests.architectures import build_tiny
from tests.tables import random_rows


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Threads cost more than they give in so small passes."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def tiny() -> FrozenLM:
    source = find_model("tiny")
    return FrozenLM(load_model(source, "float32", "cpu"), load_tokenizer(source))


def random_model(model_type: str) -> FrozenLM:
    model = build_tiny(model_type)
    assert model is not None
    return FrozenLM(model, AutoTokenizer.from_pretrained(TINY_DIRECTORY))


@torch.no_grad()
def plain_tokens(lm: FrozenLM, text: Sequence[int], prompt: torch.Tensor, count: int) -> list[int]:
    """The `count` likeliest tokens, one after another, each from a forward pass over everything before it."""
    embed, tokens = lm.model.get_input_embeddings(), list[int]()
    for _ in range(count):
        before = [embed(torch.tensor(text)), prompt, embed(torch.tensor(tokens, dtype=torch.long))]
        tokens.append(int(lm.model(inputs_embeds=torch.cat(before)[None], use_cache=False).logits[0, -1].argmax()))
    return tokens


def plain_answer(lm: FrozenLM, tokens: Sequence[int]) -> str:
    """The text of `tokens` up to the end token or the end of its first line."""
    ends = [lm.tokenizer.eos_token_id, *([2] if lm.model.generation_config.eos_token_id == 2 else [])]
    kept = next((list(tokens[:place]) for place, token in enumerate(tokens) if token in ends), list(tokens))
    return str(lm.tokenizer.decode(kept)).strip().split("\n")[0].strip()


def matches(lm: FrozenLM, prompt: torch.Tensor, examples: Sequence[Example], batch_tokens: int) -> list[bool]:
    tokenized, found = tokenize(lm.tokenizer, examples, None), [False] * len(examples)
    prefix = read_prefix(lm, tokenized, len(prompt))
    for batch in plan_batches(tokenized, len(prompt), batch_tokens):
        right = exact_matches(lm, prompt, [tokenized[index] for index in batch], None, prefix)
        for index, is_right in zip(batch, right, strict=True):
            found[index] = is_right
    return found


@pytest.mark.parametrize("batch_tokens", [1, 700])
def test_the_tiny_model_answers_some_questions(batch_tokens: int) -> None:
    lm, examples = tiny(), [e for e in read_examples(Arithmetic(), 0)[0] if e.split == "test"][::260]
    prompt = lm.embed(torch.arange(40, 44)[None])[0]
    expected = []
    for example in examples:
        text = lm.tokenizer(example.text).input_ids
        right = lm.tokenizer(example.answer_text, add_special_tokens=False).input_ids
        answer = plain_answer(lm, plain_tokens(lm, text, prompt, len(right) + 1 + EXTRA_TOKENS))
        expected.append(answer == example.answer_text.strip())
    assert matches(lm, prompt, examples, batch_tokens) == expected
    assert 0 < sum(expected) < len(expected)


@pytest.mark.parametrize("model_type", ["gemma3_text", "mistral", "gpt2", "bloom", "qwen3_moe"])
@pytest.mark.parametrize("shared", ["", "The same words stand in front of every one of the texts of this test.\n" * 2])
def test_what_a_model_says_is_matched_and_anything_else_is_not(model_type: str, shared: str) -> None:
    lm, examples = random_model(model_type), []
    prompt = lm.embed(torch.arange(40, 43)[None])[0]
    for number, row in enumerate(random_rows(12)):
        text = shared + row["text"]
        said = plain_answer(lm, plain_tokens(lm, lm.tokenizer(text).input_ids, prompt, 2 + number % 3))
        target = (said if number % 2 else f"{said} and") or "-"
        examples.append(Example(str(number), str(number), "test", text, target=f" {target}"))
    expected = []
    for example in examples:
        count = len(tokenize(lm.tokenizer, [example], None)[0].continuations[0]) + EXTRA_TOKENS
        answer = plain_answer(lm, plain_tokens(lm, lm.tokenizer(example.text).input_ids, prompt, count))
        expected.append(answer == example.answer_text.strip())
    assert matches(lm, prompt, examples, 400) == expected == matches(lm, prompt, examples, 1)


class Scripted:
    """Stands for a model that writes a given text, whatever it reads."""

    def __init__(self, lm: FrozenLM, text: str) -> None:
        self.lm, self.ids, self.passes = lm, lm.tokenizer(text, add_special_tokens=False).input_ids, 0

    def logits(self, _: torch.Tensor) -> torch.Tensor:
        self.passes += 1
        token = self.ids[self.passes - 1] if self.passes <= len(self.ids) else 50
        return torch.nn.functional.one_hot(torch.tensor([token]), len(self.lm.tokenizer)).float()

    @staticmethod
    def states(hidden: torch.Tensor) -> torch.Tensor:
        return hidden


@pytest.mark.parametrize(
    ("written", "target", "end", "is_right"),
    [
        (" 16<end>", " 16", None, True),
        ("16 <end>", " 16", None, True),
        ("\n 16\n", " 16", None, True),
        (" 16\nQ: What", " 16", None, True),
        (" 161<end>", " 16", None, False),
        (" 1<end>6", " 16", None, False),
        (" 16 apples<end>", " 16", None, False),
        ("<end>", " 16", None, False),
        (" 16#junk", " 16", "#", True),
        (" 16;; 17", " 16", ";;", True),
        (" 16; 17", " 16", ";;", False),
        (" one\ntwo<end>", " one\ntwo", None, True),
        (" one\nmore<end>", " one\ntwo", None, False),
    ],
)
def test_where_an_answer_ends(
    monkeypatch: pytest.MonkeyPatch, written: str, target: str, end: str | None, is_right: bool
) -> None:
    lm = tiny()
    scripted = Scripted(lm, written)
    monkeypatch.setattr(lm, "head", scripted)
    (example,) = tokenize(lm.tokenizer, [Example("0", "0", "test", "Q:", target=target)], end)
    assert exact_matches(lm, lm.embed(torch.tensor([[5]]))[0], [example], end) == [is_right]
    assert scripted.passes <= len(example.continuations[0]) + EXTRA_TOKENS


def test_an_answer_that_the_tokenizer_normalizes_can_be_right(monkeypatch: pytest.MonkeyPatch) -> None:
    lm = tiny()
    monkeypatch.setattr(lm, "head", Scripted(lm, " half<end>"))
    (example,) = tokenize(lm.tokenizer, [Example("0", "0", "test", "Q:", target=" half")], None)
    example = replace(example, answer_text=" \u210calf")
    assert exact_matches(lm, lm.embed(torch.tensor([[5]]))[0], [example], None) == [True]


def test_the_ends_that_a_model_names_are_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    lm = tiny()
    scripted = Scripted(lm, " 16 house")
    monkeypatch.setattr(lm, "head", scripted)
    monkeypatch.setattr(lm.model.generation_config, "eos_token_id", [scripted.ids[-1]])
    (example,) = tokenize(lm.tokenizer, [Example("0", "0", "test", "Q:", target=" 16")], None)
    assert exact_matches(lm, lm.embed(torch.tensor([[5]]))[0], [example], None) == [True]
