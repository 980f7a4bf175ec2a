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
    """Return each row's summed log-probability of answer and end token, and whether all of these are the argmax.

    The second result is exact match under greedy decoding, which is right until the first token that is not the argmax.
    """
    sums, exact = [], []
    for start in range(0, len(rows.ids), ROWS_PER_BATCH):
        ids = torch.from_numpy(rows.ids[start : start + ROWS_PER_BATCH]).long()
        marks = torch.from_numpy(rows.answer[start : start + ROWS_PER_BATCH])[:, 1:]
        log_probabilities = model(ids[:, :-1]).logits.log_softmax(-1)
        target = ids[:, 1:]
        target_scores = log_probabilities.gather(-1, target[..., None])[..., 0]
        sums.append((target_scores * marks).sum(1))
        exact.append(((log_probabilities.argmax(-1) == target) | ~marks).all(1))
    return torch.cat(sums), torch.cat(exact)


def exact_match(model: PreTrainedModel, rows: Mapping[str, TokenRows]) -> dict[str, float]:
    """Return the fraction of exact matches under greedy decoding among the rows of each name."""
    return {name: answer_log_probabilities(model, part)[1].float().mean().item() for name, part in rows.items()}


def multiple_choice(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    questions: Sequence[Question],
    form: str,
    rng: random.Random,
) -> float:
    """Return the fraction of `questions` whose right choice has the largest summed log-probability with end token."""
    drawn = [render(question, form, rng) for question in questions]
    counts = [len(choices) for _, choices in drawn]
    texts = encode(tokenizer, (text for text, choices in drawn for _ in choices))
    answers = encode(tokenizer, (f" {choice}" for _, choices in drawn for choice in choices))
    sums, _ = answer_log_probabilities(model, rows_of(texts, answers, tokenizer))
    right = 0
    for question, (_, choices), choice_sums in zip(questions, drawn, sums.split(counts), strict=True):
        right += choices[int(choice_sums.argmax())] == str(question.answer)
    return right / len(questions)
