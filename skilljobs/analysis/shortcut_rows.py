"""The rows of `shortcuts.parquet`: each neuron with each candidate property, and the verdict on it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from skilljobs.analysis.followed_properties import Followed
from skilljobs.analysis.half_examples import Array, HalfExamples
from skilljobs.analysis.neurons_in_question import QuestionedNeuron
from skilljobs.analysis.property_effects import PropertyReading
from skilljobs.analysis.property_findings import Answers, Finding, present_mean
from skilljobs.analysis.shortcut_verdicts import verdict
from skilljobs.properties.property import Property, values_of
from skilljobs.stats.stratified import Estimate
from skilljobs.store.follow_up_schema import SHORTCUTS

SHOWN = 3
"""Examples that speak for a property and against it, those where the neuron says most clearly that it is there."""
NOT_FOLLOWED = ("none", "the neuron does not follow it on both halves")


def shortcut_rows(
    facts: Mapping[str, Any],
    neurons: Sequence[QuestionedNeuron],
    followed: Followed,
    readings: Sequence[PropertyReading],
    findings: Mapping[int, Finding],
    half: HalfExamples,
    activations: Array,
    singles: Answers,
) -> list[dict[str, Any]]:
    """A row for each neuron and property. `facts` are the columns that all rows share; `findings` are by place of the
    property; `activations` are those on half 1, examples x neurons; `singles` has nothing silenced, and then each
    neuron by itself."""
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
                    **_of_neuron(neuron),
                    "r_half0": _cell(followed.r_half0[number, place]),
                    "r_half1": _cell(followed.r_half1[number, place]),
                    "auc_half1": _cell(followed.auc[number, place]),
                    "p": _cell(followed.p[number, place]),
                    "q": _cell(followed.q[number, place]),
                    "neuron_delta_margin_with": _cell(present_mean(deltas[number][reading.has])),
                    "neuron_delta_margin_without": _cell(present_mean(deltas[number][without])),
                    "examples_for": _strongest(half, agreeing, reading.has) if follows else None,
                    "examples_against": _strongest(half, agreeing, without) if follows else None,
                    "verdict": said,
                    "reason": reason,
                }
            )
    return rows


def untested_rows(
    facts: Mapping[str, Any], neurons: Sequence[QuestionedNeuron], of: Property, half: HalfExamples, reason: str
) -> list[dict[str, Any]]:
    """The rows of a property that nothing can be told of, for `reason`: it holds for nearly all examples of `half`."""
    values = values_of([of], half.examples)[:, 0]
    has, without = values == 1, values == 0
    shared = {
        **facts,
        "property": of.name,
        "kind": of.kind,
        "alike": [],
        **_of_sides(half, has, without),
        "verdict": "undecided",
        "reason": reason,
    }
    return [{**shared, **_of_neuron(neuron)} for neuron in neurons]


def table_of(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """The table of one search: shortcuts first, then what is followed most."""
    order = {"shortcut": 0, "undecided": 1, "correlate": 1, "none": 2}
    ordered = sorted(rows, key=lambda row: (order[row["verdict"]], -abs(row.get("r_half1") or 0.0)))
    return pa.Table.from_pylist(ordered, SHORTCUTS)


def _of_neuron(neuron: QuestionedNeuron) -> dict[str, Any]:
    name = neuron.name
    return {"layer": name.layer, "expert": name.expert, "neuron": name.neuron, "token": neuron.token}


def _of_sides(half: HalfExamples, has: NDArray[np.bool_], without: NDArray[np.bool_]) -> dict[str, Any]:
    """The columns about the examples with a property and about those without it."""
    return {
        "share": _cell(present_mean(has[has | without].astype(np.float64))),
        "accuracy_with": _cell(present_mean(half.correct[has])),
        "accuracy_without": _cell(present_mean(half.correct[without])),
        "confidence_with": _cell(present_mean(half.confidence[has])),
        "confidence_without": _cell(present_mean(half.confidence[without])),
        "n_with": int(has.sum()),
        "n_without": int(without.sum()),
    }


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
        **_of_sides(half, has, without),
    }
    if finding is not None:
        row |= _estimate("rate", finding.rate) | {"rate_detectable": _cell(finding.rate.detectable)}
        row["silenced"] = len(finding.neurons) if finding.silenced else None
    if finding is not None and finding.silenced is not None:
        row |= _estimate("fall", finding.silenced.fall) | {"margin_fall": _cell(finding.silenced.margin_fall.value)}
    if finding is not None and finding.compared is not None:
        row |= {"fall_p": _cell(finding.compared.fall_p), "margin_fall_p": _cell(finding.compared.margin_p)}
        row |= {"distance_p": _cell(finding.compared.distance_p), "controls": finding.compared.controls}
    return row


def _estimate(name: str, estimate: Estimate) -> dict[str, float | None]:
    return {name: _cell(estimate.value), f"{name}_low": _cell(estimate.low), f"{name}_high": _cell(estimate.high)}


def _cell(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
