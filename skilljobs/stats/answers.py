"""Model-derived metrics of an example from the log-probabilities of its continuations."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AnswerScores:
    """What the model thought of one example. Null where the kind of example does not define it.

    Multiple choice, with `s` the summed log-probability of a choice's tokens and the end token: `confidence` is
    softmax(s) at the right choice, `correct` whether it has the largest s (a tie is wrong), `margin` its s less the
    best wrong one, `entropy` that of softmax(s) in nats, `target_logprob` its s; `confidence_mean` and `correct_mean`
    the same with s per token. Open ended: `target_logprob` is the sum, `confidence` exp of the mean per token.
    """

    confidence: float
    correct: bool | None
    margin: float | None
    entropy: float | None
    target_logprob: float
    confidence_mean: float | None
    correct_mean: bool | None
    text_tokens: int
    choice_probabilities: tuple[float, ...] | None = None
    """softmax(s), choice by choice: what a task's own metrics are taken from."""


MODEL_METRICS = tuple(name for name in AnswerScores.__dataclass_fields__ if name != "choice_probabilities")
DEFAULT_MODEL_METRICS = ("confidence", "margin", "correct", "text_tokens")
OF_CHOICES_ONLY = frozenset({"correct", "margin", "entropy", "confidence_mean", "correct_mean"})


def choice_scores(sums: Sequence[float], token_counts: Sequence[int], answer: int, text_tokens: int) -> AnswerScores:
    """Scores of a multiple-choice example; `sums` and `token_counts` by choice, the end token included."""
    means = [total / count for total, count in zip(sums, token_counts, strict=True)]
    probabilities = _softmax(sums)
    best_wrong = max(total for index, total in enumerate(sums) if index != answer)
    return AnswerScores(
        confidence=probabilities[answer],
        correct=sums[answer] > best_wrong,
        margin=sums[answer] - best_wrong,
        entropy=-sum(p * math.log(p) for p in probabilities if p > 0),
        target_logprob=sums[answer],
        confidence_mean=_softmax(means)[answer],
        correct_mean=means[answer] > max(mean for index, mean in enumerate(means) if index != answer),
        text_tokens=text_tokens,
        choice_probabilities=tuple(probabilities),
    )


def target_scores(total: float, token_count: int, text_tokens: int) -> AnswerScores:
    """Scores of an open-ended example."""
    return AnswerScores(
        confidence=math.exp(total / token_count),
        correct=None,
        margin=None,
        entropy=None,
        target_logprob=total,
        confidence_mean=None,
        correct_mean=None,
        text_tokens=text_tokens,
    )


def metric_cells(scores: AnswerScores, of_choices: Mapping[str, int]) -> dict[str, float | bool | None]:
    """Every model-derived metric by name. `of_choices`: a task's own ones, each the probability of a choice."""
    probabilities = scores.choice_probabilities or ()
    return {name: getattr(scores, name) for name in MODEL_METRICS} | {
        name: probabilities[index] if index < len(probabilities) else None for name, index in of_choices.items()
    }


def metric_values(scores: AnswerScores, of_choices: Mapping[str, int]) -> dict[str, float]:
    """The same as numbers, NaN where null."""
    cells = metric_cells(scores, of_choices)
    return {name: math.nan if value is None else float(value) for name, value in cells.items()}


def _softmax(values: Sequence[float]) -> list[float]:
    largest = max(values)
    weights = [math.exp(value - largest) for value in values]
    total = math.fsum(weights)
    return [weight / total for weight in weights]
