"""Tuning a soft prompt step by step (Lester et al. 2021). Whoever drives it answers its rounds."""

import math
from collections.abc import Callable, Collection, Generator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from skilljobs.errors import JobFailed
from skilljobs.lm.results import NOT_FINITE_ADVICE, TuningPoint
from skilljobs.lm.tuning_rounds import PartAnswers, PartGradient, PartLosses, PartResult, TuningRound
from skilljobs.plan.work import LeftOut
from skilljobs.stats.adam import adam_step
from skilljobs.store.tuning_state import TuningState

T = TypeVar("T")

VALIDATE_EVERY = 25
PATIENCE = 4
"""The number of validations without an improvement after which tuning stops."""
LEAST_GAIN = 0.01
"""The smallest relative decrease of the loss that counts as an improvement. The best prompt is kept in any case."""
WARMUP = 10


@dataclass(frozen=True)
class PartHalved:
    """Memory did not hold a part of a step whole: the last digits of the prompt depend on that."""

    step: int


TuningNews = TuningPoint | LeftOut | PartHalved
Asking = Generator[TuningRound, Sequence[PartResult], T]
"""Asks for rounds, which are answered by the results of all parts in their order, and returns what follows."""


class PromptTuning:
    """Tunes a prompt. Its `state` can be stored at each validation, and after a step that none follows."""

    def __init__(
        self,
        state: TuningState,
        steps: int,
        learning_rate: float,
        on_news: Callable[[TuningNews], None],
        on_step: Callable[[], None] = lambda: None,
    ) -> None:
        """`steps`: after which tuning ends at the latest. `on_step` is called after one that no validation follows."""
        self.state, self.steps, self.learning_rate = state, steps, learning_rate
        self._tell, self._on_step = on_news, on_step
        self._left_out: set[str] = set()
        self._was_halved = False

    def rounds(self) -> Asking[None]:
        """Tune until all steps are done or the validation loss stops falling; the best prompt is then `state.best`.

        Tells of a validation before the first step; after every `VALIDATE_EVERY` steps, of their mean training loss and
        a validation; and finally of the validation of the best prompt once more. The first and the last have an
        accuracy.

        Raises:
            JobFailed: no example of a step, or of those to validate on, has a finite loss.
        """
        state = self.state
        if state.step == 0:
            point = yield from self._validate()
            self._tell(replace(point, accuracy=(yield from self._accuracy())))
        while state.step < self.steps and state.step - state.gain_step < PATIENCE * VALIDATE_EVERY:
            yield from self._step()
            if state.step % VALIDATE_EVERY and state.step < self.steps:
                self._on_step()
                continue
            self._tell(TuningPoint(state.step, "train", math.fsum(state.losses) / len(state.losses), None))
            state.losses = ()
            self._tell((yield from self._validate()))
        self._tell(TuningPoint(state.best_step, "validation", state.best_loss, (yield from self._accuracy())))

    def _step(self) -> Asking[None]:
        """Take one step of Adam, with warm-up and cosine decay of the learning rate to a tenth."""
        state = self.state
        parts = yield TuningRound("gradient", state.vectors, state.step)
        gradients = [part for part in parts if isinstance(part, PartGradient)]
        if any(part.was_halved for part in gradients) and not self._was_halved:
            self._was_halved = True
            self._tell(PartHalved(state.step + 1))
        self._leave_out([example_id for part in gradients for example_id in part.left_out])
        terms = sum(part.terms for part in gradients)
        if terms == 0:
            raise JobFailed(
                f"tuning cannot go on: no example of the batch of step {state.step + 1} has a finite loss and gradient",
                f"a smaller --learning-rate may help; {NOT_FINITE_ADVICE}",
            )
        shares = [part.terms / terms for part in gradients]
        gradient = np.zeros_like(state.vectors)
        for share, part in zip(shares, gradients, strict=True):  # in the order of the parts, whoever computed them
            gradient += np.float32(share) * part.gradient
        state.losses += (math.fsum(share * part.loss for share, part in zip(shares, gradients, strict=True)),)
        state.step += 1
        decay = 0.55 + 0.45 * math.cos(math.pi * state.step / self.steps)
        rate = self.learning_rate * min(decay, state.step / WARMUP)
        state.vectors, state.first_moment, state.second_moment = adam_step(
            state.vectors, state.first_moment, state.second_moment, gradient, state.step, rate
        )

    def _validate(self) -> Asking[TuningPoint]:
        state = self.state
        parts = yield TuningRound("losses", state.vectors)
        loss = self._loss([part for part in parts if isinstance(part, PartLosses)])
        if loss < state.best_loss:
            state.best_loss, state.best_step, state.best = loss, state.step, state.vectors
        if loss < (1 - LEAST_GAIN) * state.gain_loss:
            state.gain_loss, state.gain_step = loss, state.step
        return TuningPoint(state.step, "validation", loss, None)

    def _loss(self, parts: Sequence[PartLosses]) -> float:
        """The loss over the validation examples; infinite if that of one of them is no longer finite."""
        of_all = [row for part in parts for row in zip(part.example_ids, part.losses, part.terms, strict=True)]
        if self.state.step == 0:
            bad = [example_id for example_id, loss, _ in of_all if not math.isfinite(loss)]
            self.state.not_validated = tuple(bad)
            self._leave_out(bad)
            if of_all and len(bad) == len(of_all):
                raise JobFailed("no validation example has a finite loss", NOT_FINITE_ADVICE)
        without = set(self.state.not_validated)
        losses = [(loss, terms) for example_id, loss, terms in of_all if example_id not in without]
        if not all(math.isfinite(loss) for loss, _ in losses):
            return math.inf
        return math.fsum(loss for loss, _ in losses) / sum(terms for _, terms in losses)

    def _accuracy(self) -> Asking[float | None]:
        parts = yield TuningRound("answers", self.state.best)
        return accuracy_of(parts, self.state.not_validated)

    def _leave_out(self, example_ids: Sequence[str]) -> None:
        """Tell of examples that are left out, each once."""
        new = tuple(example_id for example_id in example_ids if example_id not in self._left_out)
        self._left_out.update(new)
        if new:
            self._tell(LeftOut(new))


def accuracy_of(parts: Sequence[PartResult], without: Collection[str] = ()) -> float | None:
    """The share of right answers in all parts, `without` some examples; None without multiple-choice examples."""
    right = [
        is_right
        for part in parts
        if isinstance(part, PartAnswers)
        for example_id, is_right in zip(part.example_ids, part.are_right, strict=True)
        if is_right is not None and example_id not in without
    ]
    return sum(right) / len(right) if right else None
