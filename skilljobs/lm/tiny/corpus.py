"""The training data of the tiny model: generated questions in both forms, as token ids.

Only `train` operand pairs are trained on. BIG-bench's released examples are never read here.
"""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerFast

from skilljobs.tasks.arithmetic import TEMPLATE, all_questions, operand_split
from skilljobs.tasks.questions import OPERATIONS, Question, draw_choices, layout_choices

FORMS = ("plain", "choices")


def questions_of_split(split: str, wide: int | None = None) -> dict[str, list[Question]]:
    """Return all questions of each operation whose operand pair is in `split`.

    Operands are up to 99; if `wide` is given, one of the two is from 100 to `wide` instead.
    """
    return {
        operation: [
            question for question in all_questions(operation, wide=wide) if operand_split(*question.operands) == split
        ]
        for operation in OPERATIONS
    }


def render(question: Question, form: str, rng: random.Random) -> tuple[str, list[str]]:
    """Return the text before the answer, and the choices in the order shown. Choices are drawn for either form."""
    choices = draw_choices(question.answer, rng)
    rng.shuffle(choices)
    layout = layout_choices(choices) if form == "choices" else ""
    return TEMPLATE.format(input=question.text, choices=layout), choices


@dataclass(frozen=True)
class TokenRows:
    """Rows of equal width, padded on the right. `answer` marks the answer's tokens and the end token."""

    ids: NDArray[np.int16]
    answer: NDArray[np.bool_]


def token_rows(
    questions: Sequence[Question], form: str, tokenizer: PreTrainedTokenizerFast, rng: random.Random
) -> TokenRows:
    """Return one row for each question in `form`, with its right answer."""
    texts = encode(tokenizer, (render(question, form, rng)[0] for question in questions))
    return rows_of(texts, encode(tokenizer, (f" {question.answer}" for question in questions)), tokenizer)


def rows_of(texts: list[list[int]], answers: list[list[int]], tokenizer: PreTrainedTokenizerFast) -> TokenRows:
    """Return one row for each text, followed by its answer and the end token."""
    width = 1 + max(len(text) + len(answer) for text, answer in zip(texts, answers, strict=True))
    ids = np.full((len(texts), width), tokenizer.pad_token_id, np.int16)
    marks = np.zeros((len(texts), width), np.bool_)
    for index, (text, answer) in enumerate(zip(texts, answers, strict=True)):
        stop = len(text) + len(answer) + 1
        ids[index, :stop] = [*text, *answer, tokenizer.eos_token_id]
        marks[index, len(text) : stop] = True
    return TokenRows(ids, marks)


def encode(tokenizer: PreTrainedTokenizerFast, texts: Iterable[str]) -> list[list[int]]:
    """Return the token ids of `texts`, without special tokens."""
    encoded: list[list[int]] = tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    return encoded
