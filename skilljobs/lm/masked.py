"""Masked language models: the soft prompt stands in front of the text, and the answer is read at the mask token.

A row is what the tokenizer puts in front, the prompt, the text with its mask token, and what the tokenizer puts behind.
An answer is one token, its label word, whose probability the LM head gives at the mask token (Wang et al. 2022,
"Finding Skill Neurons in Pre-trained Transformer-based Language Models", arXiv 2211.07349). All positions see all
others, so that nothing of a row can be read before the prompt is known.
"""

from collections.abc import Mapping, Sequence

import torch
from transformers import PreTrainedTokenizerBase

from skilljobs.errors import InputError
from skilljobs.lm.batch import TokenizedExample, continuation_ids, tokenize
from skilljobs.lm.model import FrozenLM
from skilljobs.lm.padding import right_padded
from skilljobs.lm.transfer import to_device
from skilljobs.neurons.sites import TokenMode, Window
from skilljobs.tasks.base import Example


def tokenize_for(
    lm: FrozenLM, examples: Sequence[Example], end: str | None, texts_are_complete: bool = False
) -> list[TokenizedExample]:
    """Tokenize `examples` as `lm` reads them: see `tokenize`, and `tokenize_masked` for a masked language model."""
    if lm.is_masked:
        return tokenize_masked(lm.tokenizer, examples)
    return tokenize(lm.tokenizer, examples, end, texts_are_complete)


def tokenize_masked(tokenizer: PreTrainedTokenizerBase, examples: Sequence[Example]) -> list[TokenizedExample]:
    """Tokenize `examples`: whole rows without the prompt, and a label word of one token for each answer.

    A text that does not hold the mask token itself gets one behind it.

    Raises:
        InputError: an example cannot be read so (see `label_problems`).
    """
    rows, labels = _rows(tokenizer, examples), _labels(tokenizer, examples)
    problems = _problems(tokenizer, examples, rows, labels)
    if problems:
        example_id, reason = next(iter(problems.items()))
        raise InputError(f"the example {example_id!r}: {reason}")
    return [
        TokenizedExample(
            text=row,
            continuations=[labels[answer] for answer in _answers(example)],
            answer=example.answer if example.choices and example.answer is not None else 0,
            is_choice=example.choices is not None,
            answer_text=example.answer_text,
        )
        for example, row in zip(examples, rows, strict=True)
    ]


def label_problems(tokenizer: PreTrainedTokenizerBase, examples: Sequence[Example]) -> dict[str, str]:
    """The examples that a masked language model cannot read, by `example_id`, each with the reason.

    Raises:
        InputError: the tokenizer has no mask token.
    """
    return _problems(tokenizer, examples, _rows(tokenizer, examples), _labels(tokenizer, examples))


def _problems(
    tokenizer: PreTrainedTokenizerBase,
    examples: Sequence[Example],
    rows: Sequence[Sequence[int]],
    tokens: Mapping[str, Sequence[int]],
) -> dict[str, str]:
    """See `label_problems`. `rows` are the tokens of each example, `tokens` those of each answer."""
    problems: dict[str, str] = {}
    for example, row in zip(examples, rows, strict=True):
        masks, labels = row.count(tokenizer.mask_token_id), dict[int, str]()
        if masks != 1:
            problems[example.example_id] = f"it holds the mask token {masks} times, and must hold it once"
        for answer in _answers(example):
            if len(tokens[answer]) != 1:
                reason = f"the answer {answer!r} is {len(tokens[answer])} tokens, and a label word must be one"
            elif tokens[answer][0] == tokenizer.unk_token_id:
                reason = f"the tokenizer does not know the answer {answer!r}"
            elif tokens[answer][0] in labels:
                reason = f"the choices {labels[tokens[answer][0]]!r} and {answer!r} are the same label word"
            else:
                labels[tokens[answer][0]] = answer
                continue
            problems.setdefault(example.example_id, reason)
    return problems


def label_log_probabilities(lm: FrozenLM, vectors: torch.Tensor, batch: Sequence[TokenizedExample]) -> torch.Tensor:
    """Return the log-probability of every label word of `batch` at the mask token, one example after another.

    The result is differentiable with respect to `vectors`, the prompt (P x d_model).
    """
    hidden = masked_states(lm, vectors, batch)
    rows = torch.tensor([row for row, example in enumerate(batch) for _ in example.continuations])
    targets = torch.tensor([tokens[0] for example in batch for tokens in example.continuations])
    return lm.head.log_probabilities(hidden, rows, targets)


def masked_states(lm: FrozenLM, vectors: torch.Tensor, batch: Sequence[TokenizedExample]) -> torch.Tensor:
    """Return the last hidden state of each row at its mask token, batch x d_model."""
    vectors, opening = vectors.to(lm.device, lm.dtype), lm.opening
    ids, mask = right_padded([example.text for example in batch], 0, lm.device)
    embedded = lm.embed(ids)
    prompt = vectors.expand(len(ids), -1, -1)
    hidden = lm.run_encoder(
        torch.cat([embedded[:, :opening], prompt, embedded[:, opening:]], 1),
        torch.nn.functional.pad(mask, (len(vectors), 0), value=True),
    )
    places = [example.text.index(lm.mask_token) for example in batch]
    shifted = torch.tensor([place + len(vectors) * (place >= opening) for place in places])
    return hidden[torch.arange(len(batch), device=hidden.device), to_device(shifted, hidden.device)]


def prompt_window(lm: FrozenLM, rows: int, prompt_length: int, tokens: TokenMode) -> Window:
    """The positions of the prompt in a batch of `rows` rows."""
    return Window(rows, slice(lm.opening, lm.opening + prompt_length), tokens)


def _answers(example: Example) -> tuple[str, ...]:
    return example.choices or (example.answer_text,)


def _labels(tokenizer: PreTrainedTokenizerBase, examples: Sequence[Example]) -> dict[str, list[int]]:
    """The tokens of each answer of `examples`."""
    answers = sorted({answer for example in examples for answer in _answers(example)})
    return dict(zip(answers, continuation_ids(tokenizer, answers), strict=True))


def _rows(tokenizer: PreTrainedTokenizerBase, examples: Sequence[Example]) -> list[list[int]]:
    """The tokens of each example, with those that the tokenizer puts around it and with its mask token."""
    if tokenizer.mask_token_id is None:
        raise InputError("the model's tokenizer has no mask token, at which a masked language model gives its answer")
    mask = str(tokenizer.mask_token)
    texts = [example.text if mask in example.text else example.text + mask for example in examples]
    ids: list[list[int]] = tokenizer(texts)["input_ids"] if texts else []
    return ids
