"""Computing the model-derived metrics of an example from the log-probabilities of its continuations."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AnswerScores:
    """The model-derived metrics of one example. A metric that is not defined for its kind of example is None.

    For multiple choice, let `s` be the summed log-probability of a choice's tokens and the end token. `confidence` is
    softmax(s) at the right choice; `correct` is whether the right choice has the largest s (a tie is wrong); `margin`
    is the s of the right choice minus that of the best wrong one; `entropy` is the entropy of softmax(s) in nats;
    `target_logprob` is the s of the right choice. `confidence_mean` and `correct_mean` are the same as `confidence`
    and `correct` with s divided by the number of tokens.

    For an open-ended example, `target_logprob` is the summed log-probability of the target, and `confidence` is exp of
    its mean per token.
    """

    confidence: float
    correct: bool | None
    margin: float | None
    entropy: float | None
    target_logprob: float
    confidence_mean: float | None
    correct_mean: bool | None
    text_tokens: int
    exact: bool | None = None
    """Whether the model's own answer, by greedy decoding, is the right one; None if it was not asked."""
    choice_probabilities: tuple[float, ...] | None = None
    """softmax(s) of each choice, from which a task's own model-derived metrics are taken."""

    @property
    def chosen(self) -> int | None:
        """The choice of the largest `s`; None if two have it, or without choices."""
        probabilities = self.choice_probabilities or ()
        best = max(probabilities, default=0.0)
        return probabilities.index(best) if probabilities.count(best) == 1 else None


EXACT = "exact"
"""The one model-derived metric that is only computed if it is asked for: it costs a decoding."""
MODEL_METRICS = tuple(name for name in AnswerScores.__dataclass_fields__ if name not in (EXACT, "choice_probabilities"))
DEFAULT_MODEL_METRICS = ("confidence", "margin", "correct", "text_tokens")
CHOICE_ONLY_METRICS = frozenset({"correct", "margin", "entropy", "confidence_mean", "correct_mean"})


def choice_scores(sums: Sequence[float], token_counts: Sequence[int], answer: int, text_tokens: int) -> AnswerScores:
    """Return the scores of a multiple-choice example.

    `sums` are the summed log-probabilities of the choices and `token_counts` their numbers of tokens, both including
    the end token. `answer` is the index of the right choice.
    """
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
    """Return the scores of an open-ended example from its target's summed log-probability and number of tokens."""
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


def metric_cells(scores: AnswerScores, choice_metrics: Mapping[str, int]) -> dict[str, float | bool | None]:
    """Return every model-derived metric by name, `exact` among them.

    `choice_metrics` are a task's own metrics, each the probability of the choice at the given index.
    """
    probabilities = scores.choice_probabilities or ()
    return {name: getattr(scores, name) for name in (*MODEL_METRICS, EXACT)} | {
        name: probabilities[index] if index < len(probabilities) else None for name, index in choice_metrics.items()
    }


def metric_values(scores: AnswerScores, choice_metrics: Mapping[str, int]) -> dict[str, float]:
    """Return the metrics of `metric_cells` as numbers, with NaN for None."""
    cells = metric_cells(scores, choice_metrics)
    return {name: math.nan if value is None else float(value) for name, value in cells.items()}


def _softmax(values: Sequence[float]) -> list[float]:
    largest = max(values)
    weights = [math.exp(value - largest) for value in values]
    total = math.fsum(weights)
    return [weight / total for weight in weights]
