"""Tokenizing examples, and packing them into batches by a token budget."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from transformers import PreTrainedTokenizerBase

from skilljobs.lm.tree import TokenTree
from skilljobs.tasks.base import Example


@dataclass(frozen=True)
class TokenizedExample:
    """`continuations` are the choices (or the one target), each with the end token; `answer` is the right one."""

    text: list[int]
    continuations: list[list[int]]
    answer: int
    is_choice: bool

    @cached_property
    def tree(self) -> TokenTree:
        """The tokens that the model reads behind the prompt."""
        return TokenTree.of(self.continuations)

    @property
    def size(self) -> int:
        """Tokens that the model reads, the prompt apart."""
        return len(self.text) + len(self.tree.tokens)

    def with_right_answer_only(self) -> "TokenizedExample":
        return replace(self, continuations=[self.continuations[self.answer]], answer=0)

    @property
    def longest_continuation(self) -> int:
        return max(map(len, self.continuations))


def longest(batch: Sequence[TokenizedExample], prompt_length: int) -> int:
    """Positions of the longest example with its longest continuation."""
    return prompt_length + max(len(example.text) + example.longest_continuation for example in batch)


def tokenize(
    tokenizer: PreTrainedTokenizerBase, examples: Sequence[Example], end: str | None
) -> list[TokenizedExample]:
    """Texts get the tokenizer's opening tokens; continuations get none, and `end` (default: its EOS) behind them."""
    if not examples:
        return []
    texts = _ids(tokenizer, [example.text for example in examples], opening=True)
    continuations = [example.choices or (example.answer_text,) for example in examples]
    ends = _ids(tokenizer, [end], opening=False)[0] if end else [tokenizer.eos_token_id]
    flat = iter(_ids(tokenizer, [text for of_example in continuations for text in of_example], opening=False))
    return [
        TokenizedExample(
            text=text,
            continuations=[[*next(flat), *ends] for _ in of_example],
            answer=example.answer if example.choices and example.answer is not None else 0,
            is_choice=example.choices is not None,
        )
        for example, text, of_example in zip(examples, texts, continuations, strict=True)
    ]


def _ids(tokenizer: PreTrainedTokenizerBase, texts: list[str], opening: bool) -> list[list[int]]:
    ids: list[list[int]] = tokenizer(texts, add_special_tokens=opening)["input_ids"]
    if opening and ids and ids[0] and ids[0][-1] == tokenizer.eos_token_id:
        return [row[:-1] for row in ids]  # a tokenizer that closes every text would part it from its answer
    return ids


def plan_batches(examples: Sequence[TokenizedExample], prompt_length: int, batch_tokens: int) -> list[list[int]]:
    """Indices of `examples`, by rising size, in batches of at most `batch_tokens` tokens, padding included.

    A function of its arguments alone. An example larger than the budget is a batch of its own.
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
