"""The rows of `shortcuts.parquet`: each neuron with each candidate property, and the verdict on it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from skilljobs.analysis.followed_properties import Followed
from skilljobs.analysis.half_examples import Array, Codes, HalfExamples
from skilljobs.analysis.neurons_in_question import QuestionedNeuron
from skilljobs.analysis.property_effects import Estimate, PropertyReading
from skilljobs.analysis.shortcut_verdicts import (
    FEWEST_WRONG,
    Compared,
    Judged,
    Silenced,
    beyond_controls,
    leads,
    leads_beside,
    lowers,
    verdict,
)
from skilljobs.stats.bootstrap import interval_over_units
from skilljobs.stats.controls import p_among, p_of_distance
from skilljobs.store.follow_up_schema import SHORTCUTS

MOST_BESIDE = 12
"""Shortcuts that are told apart from each other: those that are followed most."""
SHOWN = 3
"""Examples that speak for a property and against it, those where the neuron says most clearly that it is there."""
NOT_FOLLOWED = ("none", "the neuron does not follow it on both halves")
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
        accuracy_right=_mean(gained[reading.points_right]) - _mean(gained[reading.beside_right]),
        accuracy_wrong=_mean(gained[wrong]) if enough else float("nan"),
        wrong_high=float(wrong_high[0]),
        margin_fall=float(reading.margin_falls(before.margin[0], after.margin.T)[0]),
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
        fall, margin = finding.silenced.fall.value, finding.silenced.margin_fall
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


def shortcut_rows(
    facts: Mapping[str, Any],
    neurons: Sequence[QuestionedNeuron],
    followed: Followed,
    readings: Sequence[PropertyReading],
    findings: Mapping[int, Finding],
    half: HalfExamples,
    activations: Array,
    singles: Answers,
) -> pa.Table:
    """The table of one search. `facts` are the columns that all rows share; `findings` are by place of the property;
    `activations` are those on half 1, examples x neurons; `singles` has nothing silenced, and then each neuron by
    itself."""
    deltas = singles.margin[1:] - singles.margin[0]
    rows: list[dict[str, Any]] = []
    for place, candidate in enumerate(followed.candidates):
        reading, finding = readings[place], findings.get(place)
        of_property = _of_property(reading, finding, half)
        of_property |= {
            "property": candidate.property.name,
            "kind": candidate.property.kind,
            "alike": list(candidate.alike),
            "metric_r_half1": _cell(followed.metric_r[place]),
        }
        without = reading.known & ~reading.has
        for number, neuron in enumerate(neurons):
            if np.isnan(followed.r_half0[number, place]):
                continue
            follows = bool(followed.follows[number, place])
            said, reason = verdict(finding.judged) if finding and follows else NOT_FOLLOWED
            agreeing = activations[:, number] * np.sign(followed.r_half1[number, place])
            rows.append(
                {
                    **facts,
                    **of_property,
                    "layer": neuron.name.layer,
                    "expert": neuron.name.expert,
                    "neuron": neuron.name.neuron,
                    "token": neuron.token,
                    "r_half0": _cell(followed.r_half0[number, place]),
                    "r_half1": _cell(followed.r_half1[number, place]),
                    "auc_half1": _cell(followed.auc[number, place]),
                    "p": _cell(followed.p[number, place]),
                    "q": _cell(followed.q[number, place]),
                    "neuron_delta_margin_with": _cell(_mean(deltas[number][reading.has])),
                    "neuron_delta_margin_without": _cell(_mean(deltas[number][without])),
                    "examples_for": _strongest(half, agreeing, reading.has) if follows else None,
                    "examples_against": _strongest(half, agreeing, without) if follows else None,
                    "verdict": said,
                    "reason": reason,
                }
            )
    order = {"shortcut": 0, "undecided": 1, "correlate": 1, "none": 2}
    rows.sort(key=lambda row: (order[row["verdict"]], -abs(row["r_half1"] or 0.0)))
    return pa.Table.from_pylist(rows, SHORTCUTS)


def _strongest(half: HalfExamples, values: Array, among: NDArray[np.bool_]) -> list[str]:
    """The ids of the examples of largest value."""
    places = np.flatnonzero(among)
    order = places[np.argsort(-values[places], kind="stable")]
    return [half.examples[place].example_id for place in order[:SHOWN]]


def _of_property(reading: PropertyReading, finding: Finding | None, half: HalfExamples) -> dict[str, Any]:
    has, without = reading.has, reading.known & ~reading.has
    row: dict[str, Any] = {
        "side": reading.side,
        "points_to": reading.points_to,
        "share": _cell(_mean(has[reading.known].astype(np.float64))),
        "accuracy_with": _cell(_mean(half.correct[has])),
        "accuracy_without": _cell(_mean(half.correct[without])),
        "confidence_with": _cell(_mean(half.confidence[has])),
        "confidence_without": _cell(_mean(half.confidence[without])),
        "n_with": int(has.sum()),
        "n_without": int(without.sum()),
    }
    if finding is not None:
        row |= _estimate("rate", finding.rate) | {"rate_detectable": _cell(finding.rate.detectable)}
        row["silenced"] = len(finding.neurons) if finding.silenced else None
    if finding is not None and finding.silenced is not None:
        row |= _estimate("fall", finding.silenced.fall) | {"margin_fall": _cell(finding.silenced.margin_fall)}
    if finding is not None and finding.compared is not None:
        row |= {"fall_p": _cell(finding.compared.fall_p), "margin_fall_p": _cell(finding.compared.margin_p)}
        row |= {"distance_p": _cell(finding.compared.distance_p), "controls": finding.compared.controls}
    return row


def _estimate(name: str, estimate: Estimate) -> dict[str, float | None]:
    return {name: _cell(estimate.value), f"{name}_low": _cell(estimate.low), f"{name}_high": _cell(estimate.high)}


def _p(value: float, controls: Array, shared: float) -> float:
    return float(p_among(np.array([value]), controls[:, None], shared)[0])


def _mean(values: Array) -> float:
    present = values[~np.isnan(values)]
    return float(present.mean()) if len(present) else float("nan")


def _cell(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
