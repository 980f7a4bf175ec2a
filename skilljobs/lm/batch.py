"""Tokenizing examples and packing them into batches under a token budget."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from skilljobs.errors import InputError
from skilljobs.lm.tree import TokenTree
from skilljobs.tasks.base import Example

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class TokenizedExample:
    """Token ids of an example's text and of its continuations.

    `continuations` are the choices, or the single target, each followed by the end token. `answer` is the index of the
    right one.
    """

    text: list[int]
    continuations: list[list[int]]
    answer: int
    is_choice: bool
    answer_text: str = ""
    """The right answer, as it was before it was tokenized."""

    @cached_property
    def tree(self) -> TokenTree:
        """The continuation tokens that the model reads after the prompt, as a tree."""
        return TokenTree.of(self.continuations)

    @property
    def size(self) -> int:
        """Number of tokens that the model reads, not counting the prompt."""
        return len(self.text) + len(self.tree.tokens)

    def with_right_answer_only(self) -> "TokenizedExample":
        """Return the same example with the right continuation alone."""
        return replace(self, continuations=[self.continuations[self.answer]], answer=0)

    @property
    def longest_continuation(self) -> int:
        """Number of tokens in the longest continuation, including the end token."""
        return max(map(len, self.continuations))


def longest_sequence(batch: Sequence[TokenizedExample], prompt_length: int) -> int:
    """Return the number of positions of the longest example with its longest continuation, including the prompt."""
    return prompt_length + max(len(example.text) + example.longest_continuation for example in batch)


def tokenize(
    tokenizer: PreTrainedTokenizerBase,
    examples: Sequence[Example],
    end: str | None,
    texts_are_complete: bool = False,
) -> list[TokenizedExample]:
    """Tokenize the texts and continuations of `examples`.

    Texts get the tokenizer's opening tokens, unless `texts_are_complete`: a chat template writes all of its special
    tokens itself, and a text without an opening token is then meant to have none. Continuations get none either, and
    are tokenized as in the middle of a text; they are followed by the tokens of `end`, or by the tokenizer's EOS token
    if `end` is not given.

    Raises:
        InputError: the tokenizer has no EOS token and no `end` is given, or cannot tokenize a continuation by itself.
    """
    if not examples:
        return []
    plain = [example.text for example in examples]
    texts = _ids(tokenizer, plain, False) if texts_are_complete else text_ids(tokenizer, plain)
    continuations = [example.choices or (example.answer_text,) for example in examples]
    ends = end_ids(tokenizer, end)
    flat = iter(continuation_ids(tokenizer, [answer for answers in continuations for answer in answers]))
    return [
        TokenizedExample(
            text=text,
            continuations=[[*next(flat), *ends] for _ in answers],
            answer=example.answer if example.choices and example.answer is not None else 0,
            is_choice=example.choices is not None,
            answer_text=example.answer_text,
        )
        for example, text, answers in zip(examples, texts, continuations, strict=True)
    ]


def end_ids(tokenizer: PreTrainedTokenizerBase, end: str | None) -> list[int]:
    """Return the tokens of `end`, which ends every answer, or the tokenizer's EOS token if it is not given.

    Raises:
        InputError: there is neither.
    """
    if not end and tokenizer.eos_token_id is None:
        raise InputError("the model's tokenizer has no end token: say what ends an answer (--answer-end TEXT)")
    return continuation_ids(tokenizer, [end])[0] if end else [tokenizer.eos_token_id]


ANCHOR = "\n"
"""What stands before a continuation while it is tokenized, where a tokenizer adds a space before whatever it is given.
"""
SPACES = ("\u2581", "\u0120", " ")
"""How a space is written in the tokens of SentencePiece and of byte-level tokenizers."""


def text_ids(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[list[int]]:
    """Return the ids of each text with the tokens that the tokenizer puts before a text, but none behind it.

    An end token behind the text would separate it from its answer. A text that brings its own opening token (a chat
    template does) does not get a second one.
    """
    opening, closing = _around(tokenizer)
    start = len(opening)
    rows = [row[: len(row) - closing] for row in _ids(tokenizer, list(texts), True)]
    return [row[start:] if opening and row[start : 2 * start] == opening else row for row in rows]


def opening_length(tokenizer: PreTrainedTokenizerBase) -> int:
    """Return the number of tokens that the tokenizer puts before a text."""
    return len(opening_ids(tokenizer))


def opening_ids(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Return the tokens that the tokenizer puts before a text."""
    return _around(tokenizer)[0]


def _around(tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], int]:
    """The tokens that the tokenizer puts before a text, and how many it puts behind it."""
    plain, opened = (_ids(tokenizer, ["x"], special)[0] for special in (False, True))
    start = next(place for place in range(len(opened)) if opened[place : place + len(plain)] == plain)
    return opened[:start], len(opened) - start - len(plain)


def continuation_ids(tokenizer: PreTrainedTokenizerBase, continuations: Sequence[str]) -> list[list[int]]:
    """Return the ids of each continuation as they would be in the middle of a text.

    Some tokenizers (those of Llama 2 and Mistral) add a space to the beginning of whatever they are given; an answer
    " 5" would then be read as "  5".

    Raises:
        InputError: a continuation merges with what stands before it.
    """
    first = tokenizer.convert_ids_to_tokens(_ids(tokenizer, ["x"], False)[0][:1])[0]
    if not first.startswith(SPACES):
        return _ids(tokenizer, list(continuations), False)
    anchor = _ids(tokenizer, [ANCHOR], False)[0]
    rows = _ids(tokenizer, [ANCHOR + continuation for continuation in continuations], False)
    for row, continuation in zip(rows, continuations, strict=True):
        if row[: len(anchor)] != anchor:
            raise InputError(f"the model's tokenizer cannot tokenize the answer {continuation!r} by itself")
    return [row[len(anchor) :] for row in rows]


def _ids(tokenizer: PreTrainedTokenizerBase, texts: list[str], special: bool) -> list[list[int]]:
    ids: list[list[int]] = tokenizer(texts, add_special_tokens=special)["input_ids"]
    return ids


def plan_batches(
    examples: Sequence[TokenizedExample], prompt_length: int, batch_tokens: int, batch_cost: int | None = None
) -> list[list[int]]:
    """Group examples, in order of increasing size, into batches of at most `batch_tokens` tokens, including padding.

    Returns the indices of `examples` in each batch. The result depends on nothing but the arguments. An example larger
    than the budget gets a batch of its own.

    Args:
        batch_cost: how many tokens take as long as what a batch takes beside its tokens: the batches are those that
            take the least time by that. None: each batch is filled before the next one begins.
    """
    order = sorted(range(len(examples)), key=lambda index: (examples[index].size, index))
    texts = np.array([len(examples[index].text) for index in order], np.int64)
    trees = np.array([len(examples[index].tree.tokens) for index in order], np.int64)
    if batch_cost is None:
        ends = _filled(texts, trees, prompt_length, batch_tokens)
    else:
        ends = _cheapest(texts, trees, prompt_length, batch_tokens, batch_cost)
    return [order[start:end] for start, end in pairwise([0, *ends])]


def _filled(texts: Counts, trees: Counts, prompt_length: int, batch_tokens: int) -> list[int]:
    """Where each batch ends if it takes as many examples as there is room for."""
    ends: list[int] = []
    start = text_width = tree_width = 0
    for place, (text, tree) in enumerate(zip(texts.tolist(), trees.tolist(), strict=True)):
        wider = max(text_width, text), max(tree_width, tree)
        if place > start and (place + 1 - start) * (sum(wider) + prompt_length) > batch_tokens:
            ends.append(place)
            start, wider = place, (text, tree)
        text_width, tree_width = wider
    return [*ends, len(texts)] if len(texts) else []


def _cheapest(texts: Counts, trees: Counts, prompt_length: int, batch_tokens: int, batch_cost: int) -> list[int]:
    """Where each batch ends if all together have the fewest tokens, each with `batch_cost` more."""
    least = np.zeros(len(texts) + 1, np.int64)
    starts = np.zeros(len(texts) + 1, np.int64)
    most = max(1, batch_tokens // max(1, prompt_length + min(texts.tolist(), default=0)))
    for end in range(1, len(texts) + 1):
        sizes = np.arange(1, min(most, end) + 1)
        first = end - sizes  # of a batch of each size
        text_widths = np.maximum.accumulate(texts[first[-1] : end][::-1])
        tree_widths = np.maximum.accumulate(trees[first[-1] : end][::-1])
        tokens = sizes * (text_widths + tree_widths + prompt_length)
        costs = np.where(
            (tokens <= batch_tokens) | (sizes == 1), least[first] + tokens + batch_cost, np.iinfo(np.int64).max
        )
        best = int(costs.argmin())
        least[end], starts[end] = costs[best], first[best]
    ends = []
    end = len(texts)
    while end:
        ends.append(end)
        end = int(starts[end])
    return ends[::-1]
