"""When a property that a neuron follows is a shortcut: three questions, of which one clear no is enough."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from skilljobs.stats.stratified import Estimate

LEVEL = 0.05
SMALLEST = 0.05
"""A difference of this many points, as a share, is the smallest that matters: an interval that holds both 0 and it does
not decide."""
FEWEST_WRONG = 5
FEWEST_CONTROLS = 19

Answer = Literal["yes", "no", "unclear"]


@dataclass(frozen=True)
class Judged:
    """An answer with its reason, in words that end a sentence about the property."""

    answer: Answer
    reason: str


@dataclass(frozen=True)
class Silenced:
    """What silencing the neurons that follow a property does.

    `fall`: of the difference that the property makes. `accuracy_right`: the change of accuracy where the property
    points right, less that with the same right answers and without it: a mean that still speaks for the pointed-to
    answer moves the latter. `accuracy_wrong`: the change where it points wrong (NaN with fewer than `FEWEST_WRONG` of
    these), and `wrong_high` the upper end of its interval. `margin_fall`: as `fall`, of the margin, and `margin_lead`
    the difference that the property makes there.
    """

    fall: Estimate
    accuracy_right: float
    accuracy_wrong: float
    wrong_high: float
    margin_fall: Estimate
    margin_lead: float

    @property
    def leaves_margins(self) -> bool:
        """Whether it takes next to nothing of the lead in margins, which tell more than answers where few change."""
        return self.margin_lead > 0 and self.margin_fall.high < SMALLEST * self.margin_lead


@dataclass(frozen=True)
class Compared:
    """Where the falls are among those of random sets; NaN if there are too few sets.

    `distance_p`: of the distance of either fall from theirs, the larger one (see `p_of_distance`), times the number of
    properties whose neurons were silenced.
    """

    fall_p: float
    margin_p: float
    fall_mean: float
    margin_mean: float
    distance_p: float
    controls: int


def leads(rate: Estimate, points_to: str | None) -> Judged:
    """Whether the model is led by the property, from the difference in its answers with and without it."""
    what = f"the model gives {points_to!r} more often with it" if points_to else "the model is right more often with it"
    if points_to == "its choice":
        what = "the model gives the choice that it points to more often"
    if np.isnan(rate.low):
        return Judged("unclear", "too few units have it, or lack it, among examples of the same group and right answer")
    if rate.low > 0:
        return Judged("yes", f"{what} ({rate.value:+.1%})")
    if rate.high < SMALLEST:
        return Judged("no", f"it is not so that {what} ({rate.low:+.1%} .. {rate.high:+.1%})")
    return Judged("unclear", f"whether {what} is undecided ({rate.low:+.1%} .. {rate.high:+.1%})")


def lowers(silenced: Silenced, neurons: int) -> Judged:
    """Whether silencing the neurons that follow the property lowers its lead, before any comparison."""
    fall = silenced.fall
    who = "silencing the neuron that follows it" if neurons == 1 else f"silencing the {neurons} neurons that follow it"
    if np.isnan(fall.low):
        return Judged("unclear", f"what {who} does to that cannot be told")
    if not fall.low > 0:
        interval = f"{fall.low:+.1%} .. {fall.high:+.1%}"
        if fall.high < SMALLEST:
            return Judged("no", f"{who} does not lower that (by {interval})")
        if silenced.leaves_margins:
            taken, lead = silenced.margin_fall, silenced.margin_lead
            part = f"{taken.low / lead:+.0%} .. {taken.high / lead:+.0%}"
            return Judged("no", f"{who} takes nothing of that in margins ({part} of it)")
        return Judged("unclear", f"whether {who} lowers that is undecided (by {interval})")
    if not silenced.accuracy_right < 0:
        return Judged("no", f"{who} does not lower accuracy where it points right against that without it")
    if not np.isnan(silenced.wrong_high) and silenced.wrong_high < 0:
        return Judged("no", f"{who} lowers accuracy where it points wrong, too ({silenced.accuracy_wrong:+.1%})")
    if not silenced.margin_fall.value > 0:
        return Judged("no", f"{who} does not lower the margin with it")
    return Judged("yes", f"{who} lowers that by {fall.value:.1%}")


def beyond_controls(silenced: Silenced, compared: Compared) -> Judged:
    """Whether the neurons that follow the property do so more than random ones of their kind."""
    if compared.controls < FEWEST_CONTROLS or np.isnan(compared.fall_p) or np.isnan(compared.margin_p):
        return Judged("unclear", f"there are {compared.controls} random sets to compare with, which is too few")
    values = (
        f"p = {compared.fall_p:.2g} for answers, {compared.margin_p:.2g} for margins, {compared.controls} sets;"
        f" {compared.distance_p:.2g} by distance, for all properties together"
    )
    beyond = silenced.fall.value > compared.fall_mean and silenced.margin_fall.value > compared.margin_mean
    if beyond and max(compared.fall_p, compared.margin_p, compared.distance_p) <= LEVEL:
        return Judged("yes", f"more than random neurons of their kind do ({values})")
    return Judged("no", f"but not beyond what random neurons of their kind do ({values})")


def leads_beside(rate: Estimate, back: Estimate, other: str, is_followed_more: bool) -> Judged:
    """Whether the property leads the model among examples that are alike in another shortcut.

    `back` is the lead of that other one among examples alike in this property, and `is_followed_more` whether |r| is
    larger with this one: where too few examples tell the two apart, it stands for both.
    """
    interval = f"{rate.low:+.1%} .. {rate.high:+.1%}"
    alike = f"among examples alike in {other!r}"
    if rate.low > 0:
        return Judged("yes", f"also {alike} ({rate.value:+.1%})")
    if back.low > 0 and (rate.high < SMALLEST or np.isnan(rate.low)):
        return Judged("no", f"{alike}, it makes no difference that could be told ({interval})")
    if back.low > 0:
        return Judged("unclear", f"whether it leads the model {alike} is undecided ({interval})")
    if back.high < SMALLEST and not rate.high < SMALLEST:
        return Judged("yes", f"{other!r} makes no difference among examples alike in it")
    if is_followed_more:
        return Judged("yes", f"too few examples tell it from {other!r}, which is followed less")
    return Judged("unclear", f"too few examples tell it from {other!r}, which is followed more")


def verdict(judged: list[Judged]) -> tuple[str, str]:
    """`shortcut`, `correlate` or `undecided`, with the reason: the first clear no, or what is unclear."""
    for one in judged:
        if one.answer == "no":
            return "correlate", one.reason
    unclear = [one.reason for one in judged if one.answer == "unclear"]
    if unclear:
        return "undecided", "; ".join(unclear)
    return "shortcut", "; ".join(one.reason for one in judged)
