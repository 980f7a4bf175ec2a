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
class _Share:
    """The parts of a round that are given to one scorer together."""

    tuning: int
    work: Any
    asked: Any
    parts: tuple[int, ...]


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
        shares = _shares(pool, tunings, works, asked)
        # prompts side by side may be at rounds of different kinds: the longest decides
        kinds = {one.kind for one in asked.values()}
        found = _computed(pool, shares, deadlines[max(kinds, key=SLOWEST_LAST.index)])
        answers = {
            number: [found[number, part] for part in range(_parts(tunings[number], one))]
            for number, one in asked.items()
        }


def _shares(
    pool: ScorerPool, tunings: Sequence[PooledTuning], works: Sequence[Any], asked: Mapping[int, TuningRound]
) -> list[_Share]:
    """All parts of all rounds, in as many shares as there are scorers for: a call of each costs as much as a part."""
    scorers = sum(member.loaded for member in pool.group.members)
    each = max(1, -(-scorers // len(asked)))
    shares = []
    for number, one in asked.items():
        reference, parts = shared(one), range(_parts(tunings[number], one))
        shares += [
            _Share(number, works[number], reference, tuple(parts[first::each]))
            for first in range(min(each, len(parts)))
        ]
    return shares


def _parts(tuning: PooledTuning, asked: TuningRound) -> int:
    return parts_of(asked, tuning.work.tuning_parts)


def _next_rounds(tunings: Sequence[PooledTuning], answers: Mapping[int, list[PartResult]]) -> dict[int, TuningRound]:
    """The next round of each tuning that goes on, by its number; `answers` are empty at the beginning."""
    asked = {}
    for number, answer in answers.items():
        rounds = tunings[number].rounds
        with suppress(StopIteration):
            asked[number] = rounds.send(answer) if answer else next(rounds)
    return asked


def _computed(pool: ScorerPool, shares: Sequence[_Share], deadline: Deadline) -> dict[tuple[int, int], PartResult]:
    """What each part of each tuning says, whoever was first."""
    only_scorer = len(pool.group.members) == 1

    def call(actor: Any, item: int) -> Any:
        share = shares[item]
        return actor.tune_parts.remote(item, share.work, share.asked, share.parts, only_scorer)

    return {
        (shares[item].tuning, part): result
        for item, results in pool.map(range(len(shares)), call, noun="share", deadline=deadline)
        for part, result in zip(shares[item].parts, results, strict=True)
    }
