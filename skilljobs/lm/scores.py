"""Computing the model-derived metrics of each example of a scored batch."""

from collections.abc import Sequence
from dataclasses import replace

from skilljobs.lm.batch import TokenizedExample
from skilljobs.lm.forward import ScoredBatch
from skilljobs.stats.answers import AnswerScores, choice_scores, target_scores


def answer_scores(scored: ScoredBatch, batch: Sequence[TokenizedExample]) -> list[AnswerScores]:
    """Return the model-derived metrics of each example of a scored batch."""
    scores = []
    for example, sums, counts in zip(batch, scored.log_probabilities, scored.token_counts, strict=True):
        totals = sums.tolist()
        if example.is_choice:
            scores.append(choice_scores(totals, counts, example.answer, len(example.text)))
        else:
            scores.append(target_scores(totals[0], counts[0], len(example.text)))
    if scored.exact is not None:
        scores = [replace(score, exact=exact) for score, exact in zip(scores, scored.exact, strict=True)]
    return scores
