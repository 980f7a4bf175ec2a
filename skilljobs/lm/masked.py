"""Masked language models: the soft prompt stands in front of the text, and the answer is read at the mask token.

A row is what the tokenizer puts in front, the prompt, the text with its mask token, and what the tokenizer puts behind.
An answer is one token, its label word, whose probability the LM head gives at the mask token (Wang et al. 2022,
"Finding Skill Neurons in Pre-trained Transformer-based Language Models", arXiv 2211.07349). All positions see all
others, so that nothing of a row can be read before the prompt is known.
"""

from collections.abc import Sequence

import torch
from transformers import PreTrainedTokenizerBase

from skilljobs.errors import InputError
from skilljobs.lm.batch import TokenizedExample, continuation_ids, opening_length, tokenize
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
    problems = label_problems(tokenizer, examples)
    if problems:
        example_id, reason = next(iter(problems.items()))
        raise InputError(f"the example {example_id!r}: {reason}")
    answers = [example.choices or (example.answer_text,) for example in examples]
    labels = iter(continuation_ids(tokenizer, [answer for row in answers for answer in row]))
    return [
        TokenizedExample(
            text=text,
            continuations=[next(labels) for _ in row],
            answer=example.answer if example.choices and example.answer is not None else 0,
            is_choice=example.choices is not None,
            answer_text=example.answer_text,
        )
        for example, text, row in zip(examples, _rows(tokenizer, examples), answers, strict=True)
    ]


def label_problems(tokenizer: PreTrainedTokenizerBase, examples: Sequence[Example]) -> dict[str, str]:
    """The examples that a masked language model cannot read, by `example_id`, each with the reason.

    Raises:
        InputError: the tokenizer has no mask token.
    """
    mask = tokenizer.mask_token_id
    if mask is None:
        raise InputError("the model's tokenizer has no mask token, at which a masked language model gives its answer")
    answers = sorted({answer for example in examples for answer in example.choices or (example.answer_text,)})
    tokens = dict(zip(answers, continuation_ids(tokenizer, answers), strict=True))
    problems: dict[str, str] = {}
    for example, row in zip(examples, _rows(tokenizer, examples), strict=True):
        labels: dict[int, str] = {}
        if row.count(mask) != 1:
            problems[example.example_id] = f"it holds the mask token {row.count(mask)} times, and must hold it once"
        for answer in example.choices or (example.answer_text,):
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
    vectors, opening = vectors.to(lm.device, lm.dtype), opening_length(lm.tokenizer)
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
    opening = opening_length(lm.tokenizer)
    return Window(rows, slice(opening, opening + prompt_length), tokens)


def _rows(tokenizer: PreTrainedTokenizerBase, examples: Sequence[Example]) -> list[list[int]]:
    mask = str(tokenizer.mask_token)
    texts = [example.text if mask in example.text else example.text + mask for example in examples]
    ids: list[list[int]] = tokenizer(texts)["input_ids"] if texts else []
    return ids
