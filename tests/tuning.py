"""Tuning a soft prompt in this process, without Ray: the rounds are computed part by part, as scorers would."""

from collections.abc import Callable, Sequence

import torch

from skilljobs.lm.batch import TokenizedExample
from skilljobs.lm.model import FrozenLM
from skilljobs.lm.prompt import random_prompt
from skilljobs.lm.prompt_objective import PromptObjective, TuningExamples
from skilljobs.lm.results import TuningPoint
from skilljobs.lm.tuning_rounds import TuneSettings, parts_of
from skilljobs.pipeline.prompt_tuning import PromptTuning, TuningNews
from skilljobs.store.tuning_state import TuningState

RATE = 0.05


def objective(
    lm: FrozenLM,
    train: Sequence[TokenizedExample],
    validation: Sequence[TokenizedExample],
    settings: TuneSettings,
    kind: type[PromptObjective] = PromptObjective,
) -> PromptObjective:
    """An objective over examples that are named `train-0` and so on."""
    names = [f"val-{place}" for place in range(len(validation))]

    def fetch(places: Sequence[int]) -> list[TokenizedExample]:
        return [train[place] for place in places]

    return kind(lm, TuningExamples(validation, names, len(train), fetch, lambda place: f"train-{place}"), settings)


def first_state(lm: FrozenLM, length: int = 3) -> TuningState:
    """Tuning that begins with a random prompt."""
    return TuningState.start(random_prompt(lm.embedding, lm.config.vocab_size, length, 0).vectors.numpy())


def tune(
    objective: PromptObjective,
    state: TuningState,
    rate: float = RATE,
    on_news: Callable[[TuningNews], None] = lambda news: None,
    on_step: Callable[[], None] = lambda: None,
    reads_ahead: bool = False,
) -> list[TuningPoint]:
    """Tune to the end. Returns the points of the curve, as they come."""
    points: list[TuningPoint] = []

    def take(news: TuningNews) -> None:
        on_news(news)
        if isinstance(news, TuningPoint):
            points.append(news)

    rounds = PromptTuning(state, objective.settings.steps, rate, take, on_step).rounds()
    asked = next(rounds, None)
    while asked is not None:
        parts = range(parts_of(asked, objective.settings.parts))
        results = [objective.of_part(asked, part, reads_ahead) for part in parts]
        try:
            asked = rounds.send(results)
        except StopIteration:
            asked = None
    objective.close()
    return points


def best_of(state: TuningState) -> torch.Tensor:
    """The best prompt."""
    return torch.from_numpy(state.best)
