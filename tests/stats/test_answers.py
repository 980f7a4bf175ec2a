import math

import numpy as np
import pytest

from skilljobs.stats.answers import choice_scores, metric_values, target_scores


def test_multiple_choice_scores_follow_their_definitions() -> None:
    scores = choice_scores([-2.0, -1.0, -5.0], [2, 4, 1], answer=0, text_tokens=9)
    weights = np.exp([-2.0, -1.0, -5.0])
    assert scores.confidence == pytest.approx(weights[0] / weights.sum())
    assert scores.correct is False
    assert scores.margin == pytest.approx(-1.0)
    probabilities = weights / weights.sum()
    assert scores.entropy == pytest.approx(-(probabilities * np.log(probabilities)).sum())
    means = np.exp([-1.0, -0.25, -5.0])
    assert scores.confidence_mean == pytest.approx(means[0] / means.sum())
    assert (scores.correct_mean, scores.target_logprob, scores.text_tokens) == (False, -2.0, 9)


def test_a_tie_is_wrong_and_nothing_overflows() -> None:
    assert choice_scores([-1.0, -1.0], [1, 1], 0, 1).correct is False
    far = choice_scores([-5000.0, -1.0], [1, 1], 1, 1)
    assert (far.confidence, far.correct, far.entropy) == (1.0, True, 0.0)


def test_an_open_ended_example_has_no_choice_metrics() -> None:
    scores = target_scores(-6.0, 3, 4)
    assert scores.confidence == pytest.approx(math.exp(-2))
    values = metric_values(scores, {})
    assert [name for name, value in values.items() if math.isnan(value)] == [
        "correct", "margin", "entropy", "confidence_mean", "correct_mean", "exact",
    ]  # fmt: skip
