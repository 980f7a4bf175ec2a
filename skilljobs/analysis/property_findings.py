"""What is found out about each property that neurons follow: how it leads the model, and what silencing them does."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from skilljobs.analysis.followed_properties import Followed
from skilljobs.analysis.half_examples import Array, Codes, HalfExamples
from skilljobs.analysis.property_effects import PropertyReading
from skilljobs.analysis.shortcut_verdicts import (
    FEWEST_WRONG,
    Compared,
    Judged,
    Silenced,
    beyond_controls,
    leads,
    leads_beside,
    lowers,
)
from skilljobs.stats.bootstrap import interval_over_units
from skilljobs.stats.controls import p_among, p_of_distance
from skilljobs.stats.stratified import Estimate

MOST_BESIDE = 12
"""Shortcuts that are told apart from each other: those that are followed most."""
Names = tuple[int, ...]
"""Places of neurons among those in question, ascending."""


@dataclass(frozen=True)
class Answers:
    """What the model answers on half 1: the choice that it gives, and its margin; sets x examples."""

    chosen: Codes
    margin: Array


@dataclass
class Finding:
    """What is known of a property: how it is read, the neurons that follow it on half 0, and what was judged."""

    reading: PropertyReading
    rate: Estimate
    neurons: Names
    judged: list[Judged] = field(default_factory=list)
    silenced: Silenced | None = None
    compared: Compared | None = None

    @property
    def is_open(self) -> bool:
        """Whether nothing yet says that it is no shortcut."""
        return len(self.reading.example) > 0 and all(one.answer != "no" for one in self.judged)

    @property
    def is_shortcut(self) -> bool:
        """Whether everything was asked and answered with yes."""
        return self.compared is not None and all(one.answer == "yes" for one in self.judged)

    @property
    def may_be_shortcut(self) -> bool:
        """Whether all that was asked was answered with yes, but for what the data cannot tell of its lead."""
        return self.is_open and self.judged[-1].answer == "yes"


def first_finding(reading: PropertyReading, neurons: Names, answers: Answers, seed: int) -> Finding:
    """Judge whether the model is led by a property, by its answers with nothing silenced (the first set)."""
    rate = reading.rate(answers.chosen[0], seed)
    return Finding(reading, rate, neurons, [leads(rate, reading.points_to)])


def add_silenced(finding: Finding, half: HalfExamples, before: Answers, after: Answers, seed: int) -> None:
    """Judge what silencing the neurons of `finding` does; `before` and `after` have one set each."""
    reading = finding.reading
    chosen, changed = before.chosen[0], after.chosen[0]
    right = np.array([-2 if example.answer is None else example.answer for example in half.examples])
    gained = (changed == right).astype(np.float64) - (chosen == right)
    wrong = reading.points_wrong
    enough = int(wrong.sum()) >= FEWEST_WRONG
    wrong_high = interval_over_units(gained[wrong, None], half.units[wrong], seed)[1] if enough else [float("nan")]
    finding.silenced = Silenced(
        fall=reading.fall(chosen, changed, seed),
        accuracy_right=present_mean(gained[reading.points_right]) - present_mean(gained[reading.beside_right]),
        accuracy_wrong=present_mean(gained[wrong]) if enough else float("nan"),
        wrong_high=float(wrong_high[0]),
        margin_fall=reading.margin_fall(before.margin[0], after.margin[0], seed),
        margin_lead=reading.margin_lead(before.margin[0]),
    )
    finding.judged.append(lowers(finding.silenced, len(finding.neurons)))


def add_controls(finding: Finding, before: Answers, controls: Answers, shared: float, silenced: int) -> None:
    """Judge whether that goes beyond random sets, of which there are none if too few other neurons are left.

    `silenced` is the number of properties whose neurons were silenced: each might have passed by chance.
    """
    assert finding.silenced is not None
    reading, count = finding.reading, len(controls.chosen)
    if count == 0:
        missing = float("nan")
        finding.compared = Compared(missing, missing, missing, missing, missing, 0)
    else:
        fall, margin = finding.silenced.fall.value, finding.silenced.margin_fall.value
        falls = reading.falls(before.chosen[0], controls.chosen.T)
        margins = reading.margin_falls(before.margin[0], controls.margin.T)
        distance_p = max(p_of_distance(fall, falls, shared), p_of_distance(margin, margins, shared))
        finding.compared = Compared(
            fall_p=_p(fall, falls, shared),
            margin_p=_p(margin, margins, shared),
            fall_mean=float(falls.mean()),
            margin_mean=float(margins.mean()),
            distance_p=min(1.0, silenced * distance_p),
            controls=count,
        )
    finding.judged.append(beyond_controls(finding.silenced, finding.compared))


def tell_apart(findings: Mapping[int, Finding], followed: Followed, answers: Answers, seed: int) -> None:
    """Ask of each shortcut whether it leads the model among examples that are alike in another one, and the other way
    round. `findings` are by place of the property."""
    strength = np.nan_to_num(np.abs(followed.r_half1)).max(0)
    shortcuts = sorted((place for place in findings if findings[place].is_shortcut), key=lambda of: -strength[of])
    shortcuts = shortcuts[:MOST_BESIDE]
    pairs = {
        (one, other): findings[one].reading.rate(answers.chosen[0], seed, findings[other].reading.has.astype(np.int64))
        for one in shortcuts
        for other in shortcuts
        if one != other
    }
    for (one, other), rate in pairs.items():
        name = followed.candidates[other].property.name
        stronger = shortcuts.index(one) < shortcuts.index(other)
        findings[one].judged.append(leads_beside(rate, pairs[other, one], name, stronger))


def _p(value: float, controls: Array, shared: float) -> float:
    return float(p_among(np.array([value]), controls[:, None], shared)[0])


def present_mean(values: Array) -> float:
    """The mean of the values that are not NaN; NaN if there are none."""
    present = values[~np.isnan(values)]
    return float(present.mean()) if len(present) else float("nan")
