"""Exact match: what a model itself answers behind the soft prompt, by greedy decoding, compared with the right answer.

An answer is what is decoded before the first token that ends it (the end token of the answers, that of the tokenizer,
or one of the model's own), before the text `end`, and before the first line break behind some text, unless the right
answer has line breaks itself. At most `EXTRA_TOKENS` tokens more than the right answer has with its end are decoded:
what is longer is another answer. White space at the ends of an answer does not count.
"""

from collections.abc import Sequence

import torch
from transformers import PreTrainedTokenizerBase

from skilljobs.lm.batch import TokenizedExample, end_ids
from skilljobs.lm.model import FrozenLM
from skilljobs.lm.padding import left_padded, text_positions
from skilljobs.lm.prefix import Prefix

EXTRA_TOKENS = 4
ROWS_AT_ONCE = 32
"""Rows of logits over the whole vocabulary that are held at a time."""


def exact_matches(
    lm: FrozenLM,
    prompt: torch.Tensor,
    batch: Sequence[TokenizedExample],
    end: str | None,
    prefix: Prefix | None = None,
) -> list[bool]:
    """Return whether the model answers each example of `batch` with its right answer.

    `prompt` is P x d_model on the model's device, in its dtype. `end` is the text that ends an answer; None for the
    tokenizer's end token. `prefix` is the common beginning of all texts, which the model has already read.
    """
    tokenizer, ends = lm.tokenizer, end_ids(lm.tokenizer, end)
    answers = [_Answer(example, tokenizer, end, _stops(lm, ends), len(ends)) for example in batch]
    _decode(lm, prompt, batch, answers, prefix)
    return [answer.is_right for answer in answers]


class _Answer:
    """The tokens that were decoded for one example."""

    def __init__(
        self,
        example: TokenizedExample,
        tokenizer: PreTrainedTokenizerBase,
        end: str | None,
        stops: frozenset[int],
        end_length: int,
    ) -> None:
        self._tokenizer, self._end, self._stops = tokenizer, end, stops
        right = example.continuations[example.answer]
        self._most = len(right) + EXTRA_TOKENS
        self._right = {example.answer_text.strip()}
        ids = right[: len(right) - end_length]
        if tokenizer.unk_token_id not in ids:
            self._right.add(self._text(ids).strip())  # tokenizers may normalize what they are given
        self._has_lines = any("\n" in text for text in self._right)
        self._ids: list[int] = []
        self.is_finished = False

    def add(self, token: int) -> None:
        """Add the next token, unless the answer has ended."""
        if self.is_finished:
            return
        if token in self._stops:
            self.is_finished = True
            return
        self._ids.append(token)
        text = self._text(self._ids)
        self.is_finished = len(self._ids) >= self._most or self._cut(text) != text.lstrip()

    @property
    def is_right(self) -> bool:
        """Whether it is the right answer."""
        return self._cut(self._text(self._ids)).strip() in self._right

    def _text(self, ids: list[int]) -> str:
        return str(self._tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False))

    def _cut(self, text: str) -> str:
        text = text.partition(self._end)[0] if self._end else text
        return text.lstrip() if self._has_lines else text.lstrip().partition("\n")[0]


def _stops(lm: FrozenLM, ends: list[int]) -> frozenset[int]:
    """The tokens that end an answer, whatever comes after them."""
    configured = getattr(getattr(lm.model, "generation_config", None), "eos_token_id", None)
    own = configured if isinstance(configured, list) else [configured]
    found = [*own, lm.tokenizer.eos_token_id, *(ends if len(ends) == 1 else [])]
    return frozenset(token for token in found if token is not None)


@torch.inference_mode()
def _decode(
    lm: FrozenLM,
    prompt: torch.Tensor,
    batch: Sequence[TokenizedExample],
    answers: Sequence[_Answer],
    prefix: Prefix | None,
) -> None:
    """Read texts and prompt, and then the likeliest next token of every answer until all have ended."""
    cached = prefix.length if prefix else 0
    ids, mask = left_padded([example.text[cached:] for example in batch], 0, lm.device)
    mask = torch.nn.functional.pad(mask, (cached, len(prompt)), value=True)
    cache = prefix.expanded_cache(len(batch)) if prefix else lm.new_cache()
    embeddings = torch.cat([lm.embed(ids), prompt.to(lm.device, lm.dtype).expand(len(ids), -1, -1)], 1)
    last = lm.run_body(embeddings, mask, text_positions(mask)[:, cached:], cache)[:, -1]
    while True:
        tokens = torch.cat([lm.head.logits(lm.head.states(rows)).argmax(-1) for rows in last.split(ROWS_AT_ONCE)])
        for answer, token in zip(answers, tokens.tolist(), strict=True):
            answer.add(token)
        if all(answer.is_finished for answer in answers):
            return
        mask = torch.nn.functional.pad(mask, (0, 1), value=True)
        positions = mask.sum(1, keepdim=True) - 1
        last = lm.run_body(lm.embed(tokens[:, None].to(lm.device)), mask, positions, cache)[:, -1]
