"""Tuning from the rounds that it asks for."""

import math
from dataclasses import replace

import numpy as np
import pytest

from skilljobs.errors import JobFailed
from skilljobs.lm.results import TuningPoint
from skilljobs.lm.tuning_rounds import PartAnswers, PartGradient, PartLosses, PartResult, TuningRound
from skilljobs.pipeline.prompt_tuning import PromptTuning, TuningNews, accuracy_of
from skilljobs.plan.work import LeftOut
from skilljobs.store.tuning_state import TuningState
from tests.lm.test_forward import random_batch
from tests.lm.test_prompt_objective import SETTINGS, small_lm
from tests.tuning import best_of, first_state, objective, tune

IN_PARTS = replace(SETTINGS, parts=4)


class StoppedError(Exception):
    pass


@pytest.mark.parametrize("at", [0, 13, 25, 37])
def test_resumed_tuning_gives_bit_identical_results(at: int) -> None:
    lm = small_lm()
    of = objective(lm, random_batch(64), random_batch(16, 1), IN_PARTS)
    whole = first_state(lm)
    points = tune(of, whole)
    stopped = first_state(lm)

    def stop(news: TuningNews | None = None) -> None:
        is_validation = isinstance(news, TuningPoint) and news.split == "validation"
        if stopped.step == at and (news is None or is_validation):
            raise StoppedError

    with pytest.raises(StoppedError):
        tune(of, stopped, on_news=stop, on_step=stop)
    continued = TuningState.from_bytes(stopped.to_bytes())
    assert continued.step == at
    rest = tune(of, continued)
    assert np.array_equal(continued.best, whole.best)
    assert np.array_equal(continued.vectors, whole.vectors)
    assert rest == [point for point in points if point.step > at or at == 0 or point is points[-1]]


def test_the_best_validation_loss_is_kept() -> None:
    lm = small_lm()
    state = first_state(lm)
    of = objective(lm, random_batch(64), random_batch(16, 1), IN_PARTS)
    points = [point for point in tune(of, state) if point.split == "validation"]
    assert state.best_loss == min(point.loss for point in points)
    losses = [of.of_part(TuningRound("losses", state.best), part) for part in range(8)]
    total = [loss for part in losses if isinstance(part, PartLosses) for loss in part.losses]
    terms = sum(sum(part.terms) for part in losses if isinstance(part, PartLosses))
    assert math.fsum(total) / terms == state.best_loss
    assert (points[0].step, points[0].accuracy is None) == (0, False)
    assert (points[-1].step, points[-1].accuracy is None) == (state.best_step, False)
    assert best_of(state).isfinite().all()


def answer(asked: TuningRound, loss: float) -> list[PartResult]:
    """Two parts that have the same loss."""
    if asked.kind == "gradient":
        return [PartGradient(loss, np.ones((1, 2), np.float32), terms) for terms in (1, 3)]
    if asked.kind == "losses":
        return [PartLosses((name,), (loss,), (1,)) for name in "ab"]
    return [PartAnswers(("a", "b"), (True, False)), PartAnswers(("c", "d"), (False, None))]


def drive(state: TuningState, losses: list[float], steps: int = 400) -> list[TuningNews]:
    """Tune with the validation losses that are given, the last one again and again."""
    news: list[TuningNews] = []
    rounds = PromptTuning(state, steps, 0.1, news.append).rounds()
    asked, validations = next(rounds), 0
    try:
        while True:
            validations += asked.kind == "losses"
            asked = rounds.send(answer(asked, losses[min(validations, len(losses)) - 1]))
    except StopIteration:
        return news


def test_it_stops_when_the_loss_no_longer_falls() -> None:
    state = TuningState.start(np.zeros((1, 2), np.float32))
    news = drive(state, [3.0, 2.0, 1.0, 0.995, 1.5])
    assert state.step == 150, "four validations after step 50, the last that was better by a hundredth"
    assert (state.best_loss, state.best_step) == (0.995, 75)
    last = news[-1]
    assert isinstance(last, TuningPoint)
    assert (last.step, last.loss, last.accuracy) == (75, 0.995, 1 / 3)


def test_a_loss_that_is_no_longer_finite_is_never_the_best() -> None:
    state = TuningState.start(np.zeros((1, 2), np.float32))
    drive(state, [3.0, math.nan, 2.0], steps=50)
    assert (state.best_loss, state.best_step) == (2.0, 50)


def test_examples_are_left_out_by_name_and_once() -> None:
    news: list[TuningNews] = []
    state = TuningState.start(np.zeros((1, 2), np.float32))
    rounds = PromptTuning(state, 3, 0.1, news.append).rounds()
    next(rounds)
    asked = rounds.send([PartLosses(("a", "b"), (1.0, math.nan), (1, 5)), PartLosses(("c",), (3.0,), (1,))])
    assert state.best_loss == 2.0
    assert asked.kind == "answers"
    rounds.send([PartAnswers(("a", "b"), (True, False))])
    first = news[-1]
    assert isinstance(first, TuningPoint)
    assert first.accuracy == 1.0, "of an example that is left out no answer counts"
    for _ in range(2):
        gradient = np.ones((1, 2), np.float32)
        asked = rounds.send([PartGradient(0.0, 0 * gradient, 0, ("x",)), PartGradient(1.0, gradient, 4)])
    assert [one.example_ids for one in news if isinstance(one, LeftOut)] == [("b",), ("x",)]
    assert state.losses == (1.0, 1.0), "a part of which nothing is left counts for nothing"
    with pytest.raises(JobFailed, match="of step 3 has a finite loss"):
        rounds.send([PartGradient(0.0, 0 * gradient, 0, ("x",))])


def test_accuracy_is_unknown_without_multiple_choice() -> None:
    assert accuracy_of([PartAnswers(("a",), (None,))]) is None
