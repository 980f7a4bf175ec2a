"""Having the rounds of one or several tunings computed by the scorers of a pool, part by part.

What a scorer that dies had in hand is computed by another one. Everything else is in this process, and so is lost only
with it, back to the state that was stored last.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from skilljobs.cluster.deadlines import Deadline
from skilljobs.cluster.pool import ScorerPool
from skilljobs.cluster.shared_objects import shared
from skilljobs.lm.tuning_rounds import PartResult, TuningRound, parts_of
from skilljobs.pipeline.prompt_tuning import Asking
from skilljobs.plan.work import RunWork

SLOWEST_LAST = ("gradient", "losses", "answers")


@dataclass(frozen=True)
class PooledTuning:
    """A tuning, and the run that it is for."""

    rounds: Asking[None]
    work: RunWork


@dataclass(frozen=True)
class _Part:
    tuning: int
    work: Any
    asked: Any
    part: int


def answer_rounds(pool: ScorerPool, tunings: Sequence[PooledTuning]) -> None:
    """Have all tunings done, side by side: the parts of one round of each are given out together.

    Raises:
        JobFailed: a part could not be computed, or a tuning cannot go on.
    """
    # parts differ in length, and a round ends with its last one: no part is worth computing twice unless it is overdue
    deadlines = {kind: pool.deadline(has_stragglers=False) for kind in SLOWEST_LAST}
    works = [shared(tuning.work) for tuning in tunings]
    answers: dict[int, list[PartResult]] = {number: [] for number in range(len(tunings))}
    while asked := _next_rounds(tunings, answers):
        parts = [
            _Part(number, works[number], reference, part)
            for number, one in asked.items()
            for reference in [shared(one)]
            for part in range(parts_of(one, tunings[number].work.tuning_parts))
        ]
        # prompts side by side may be at rounds of different kinds: the longest decides
        kinds = {one.kind for one in asked.values()}
        results = _computed(pool, parts, deadlines[max(kinds, key=SLOWEST_LAST.index)])
        answers = {number: [] for number in asked}
        for part, result in zip(parts, results, strict=True):
            answers[part.tuning].append(result)


def _next_rounds(tunings: Sequence[PooledTuning], answers: Mapping[int, list[PartResult]]) -> dict[int, TuningRound]:
    """The next round of each tuning that goes on, by its number; `answers` are empty at the beginning."""
    asked = {}
    for number, answer in answers.items():
        rounds = tunings[number].rounds
        with suppress(StopIteration):
            asked[number] = rounds.send(answer) if answer else next(rounds)
    return asked


def _computed(pool: ScorerPool, parts: Sequence[_Part], deadline: Deadline) -> list[PartResult]:
    """What all parts say, in their order, whoever was first."""
    only_scorer = len(pool.group.members) == 1

    def call(actor: Any, item: int) -> Any:
        part = parts[item]
        return actor.tune_part.remote(item, part.work, part.asked, part.part, only_scorer)

    results = dict(pool.map(range(len(parts)), call, noun="part", deadline=deadline))
    return [results[item] for item in range(len(parts))]
