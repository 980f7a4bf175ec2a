"""Held-out accuracy of the tiny model, by operation and form."""

import random
from collections.abc import Mapping, Sequence

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from skilljobs.lm.tiny.corpus import TokenRows, encode, render, rows_of
from skilljobs.tasks.questions import Question

ROWS_PER_BATCH = 256


@torch.inference_mode()
def answer_log_probabilities(model: PreTrainedModel, rows: TokenRows) -> tuple[torch.Tensor, torch.Tensor]:
    """For each row, the summed log-probability of its answer and end token, and whether each of them is the argmax.

    The second is exact match under greedy decoding: decoding goes right until the first token that is not the argmax.
    """
    sums, exact = [], []
    for start in range(0, len(rows.ids), ROWS_PER_BATCH):
        ids = torch.from_numpy(rows.ids[start : start + ROWS_PER_BATCH]).long()
        marks = torch.from_numpy(rows.answer[start : start + ROWS_PER_BATCH])[:, 1:]
        log_probabilities = model(ids[:, :-1]).logits.log_softmax(-1)
        target = ids[:, 1:]
        of_target = log_probabilities.gather(-1, target[..., None])[..., 0]
        sums.append((of_target * marks).sum(1))
        exact.append(((log_probabilities.argmax(-1) == target) | ~marks).all(1))
    return torch.cat(sums), torch.cat(exact)


def exact_match(model: PreTrainedModel, rows: Mapping[str, TokenRows]) -> dict[str, float]:
    return {operation: answer_log_probabilities(model, of)[1].float().mean().item() for operation, of in rows.items()}


def multiple_choice(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    questions: Sequence[Question],
    form: str,
    rng: random.Random,
) -> float:
    """The fraction of `questions` whose right choice has the largest summed log-probability, end token included."""
    drawn = [render(question, form, rng) for question in questions]
    counts = [len(choices) for _, choices in drawn]
    texts = encode(tokenizer, (text for text, choices in drawn for _ in choices))
    answers = encode(tokenizer, (f" {choice}" for _, choices in drawn for choice in choices))
    sums, _ = answer_log_probabilities(model, rows_of(texts, answers, tokenizer))
    right = 0
    for question, (_, choices), of_choices in zip(questions, drawn, sums.split(counts), strict=True):
        right += choices[int(of_choices.argmax())] == str(question.answer)
    return right / len(questions)
