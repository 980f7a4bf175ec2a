"""Tokenizing examples and packing them into batches under a token budget."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from transformers import PreTrainedTokenizerBase

from skilljobs.lm.tree import TokenTree
from skilljobs.tasks.base import Example


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
    tokenizer: PreTrainedTokenizerBase, examples: Sequence[Example], end: str | None
) -> list[TokenizedExample]:
    """Tokenize the texts and continuations of `examples`.

    Texts get the tokenizer's opening tokens. Continuations do not; they are followed by the tokens of `end`, or by the
    tokenizer's EOS token if `end` is not given.
    """
    if not examples:
        return []
    texts = _ids(tokenizer, [example.text for example in examples], opening=True)
    continuations = [example.choices or (example.answer_text,) for example in examples]
    ends = _ids(tokenizer, [end], opening=False)[0] if end else [tokenizer.eos_token_id]
    flat = iter(_ids(tokenizer, [answer for answers in continuations for answer in answers], opening=False))
    return [
        TokenizedExample(
            text=text,
            continuations=[[*next(flat), *ends] for _ in answers],
            answer=example.answer if example.choices and example.answer is not None else 0,
            is_choice=example.choices is not None,
        )
        for example, text, answers in zip(examples, texts, continuations, strict=True)
    ]


def _ids(tokenizer: PreTrainedTokenizerBase, texts: list[str], opening: bool) -> list[list[int]]:
    ids: list[list[int]] = tokenizer(texts, add_special_tokens=opening)["input_ids"]
    if opening and ids and ids[0] and ids[0][-1] == tokenizer.eos_token_id:
        return [row[:-1] for row in ids]  # an end token after the text would separate it from its answer
    return ids


def plan_batches(examples: Sequence[TokenizedExample], prompt_length: int, batch_tokens: int) -> list[list[int]]:
    """Group examples, in order of increasing size, into batches of at most `batch_tokens` tokens, including padding.

    Returns the indices of `examples` in each batch. The result depends on nothing but the arguments. An example larger
    than the budget gets a batch of its own.
    """
    order = sorted(range(len(examples)), key=lambda index: (examples[index].size, index))
    batches: list[list[int]] = []
    text_width = tree_width = 0
    for index in order:
        example = examples[index]
        wider = max(text_width, len(example.text)), max(tree_width, len(example.tree.tokens))
        if batches and (len(batches[-1]) + 1) * (sum(wider) + prompt_length) <= batch_tokens:
            batches[-1].append(index)
            text_width, tree_width = wider
        else:
            batches.append([index])
            text_width, tree_width = len(example.text), len(example.tree.tokens)
    return batches
