"""Whether a model is led by a property, and what silencing the neurons that follow it does to that.

Where the choices are the same in all examples, a property of the text points to an answer: the one that the model gives
more often with it (found on half 0). So does a property that names a choice. Any other marks the examples in which the
model is right more often.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from skilljobs.analysis.half_examples import Array, Codes, HalfExamples
from skilljobs.properties.choice_properties import fixed_choices
from skilljobs.properties.property import Property
from skilljobs.stats.stratified import Contrast, Estimate, estimate
from skilljobs.tasks.base import Example, choice_names

Mask = NDArray[np.bool_]
WITHOUT = "without it"


@dataclass(frozen=True)
class PropertyReading:
    """How a property is read on the examples of half 1.

    `side`: for a number, which values count as having it; `without it` where it marks by not being there. `points_to`:
    the answer that it points to, `its choice` for one that names a choice, None if it marks examples. `has`: which
    examples have it, and `known` which have a value. `points_right`, `points_wrong`: the examples in which the property
    points to the right answer, or to a wrong one; `beside_right`: those that they are compared with, of the same right
    answers without the property.
    `rates`: the rows over which the model's answers are compared, `example` the example of each row, `candidate` the
    index of the choice that a row is about. `leans`: the rows of them over which margins are compared, `sign` +1 where
    a margin is in favour of the candidate.
    """

    side: str | None
    points_to: str | None
    has: Mask
    known: Mask
    rates: Contrast
    example: Codes
    candidate: Codes
    leans: Mask
    sign: Array
    points_right: Mask
    points_wrong: Mask
    beside_right: Mask

    def given(self, chosen: Codes) -> Array:
        """Of each row, whether the model gives its candidate; `chosen` is the choice that it gives, examples x C."""
        return np.asarray(chosen[self.example] == self.candidate[:, None], np.float64)

    def rate(self, chosen: Codes, seed: int, beside: Codes | None = None) -> Estimate:
        """How much more often the model gives the candidate with the property than without it, among examples that are
        alike in `beside` (a code for each example)."""
        rates = self.rates
        if beside is not None:
            rates = Contrast(rates.units, _joined(rates.strata, beside[self.example]), rates.has)
        return estimate(rates, self.given(chosen[:, None]), seed, ends=(0, 1))

    def fall(self, chosen: Codes, changed: Codes, seed: int) -> Estimate:
        """How much smaller `rate` is with the answers `changed`."""
        return estimate(self.rates, self.given(chosen[:, None]) - self.given(changed[:, None]), seed, ends=(-1, 1))

    def falls(self, chosen: Codes, changed: Codes) -> Array:
        """The same without interval, for each column of `changed` (examples x C)."""
        return self.rates.difference(self.given(chosen[:, None]) - self.given(changed))

    def margin_falls(self, margin: Array, changed: Array) -> Array:
        """How much more the margin in favour of the candidate falls with the property than without, for each column of
        `changed` (examples x C); NaN if there are no rows of both kinds."""
        return self._lean_contrast.difference(self._in_favour(margin[:, None] - changed))

    def margin_fall(self, margin: Array, changed: Array, seed: int) -> Estimate:
        """The same with interval, for one `changed`."""
        return estimate(self._lean_contrast, self._in_favour((margin - changed)[:, None]), seed)

    def margin_lead(self, margin: Array) -> float:
        """How much larger the margin in favour of the candidate is with the property than without."""
        return float(self._lean_contrast.difference(self._in_favour(margin[:, None]))[0])

    def _in_favour(self, margins: Array) -> Array:
        """Of each row in `leans`, the margin (of `margins`, examples x C) in favour of its candidate."""
        rows = self.leans
        return margins[self.example[rows]] * self.sign[rows, None]

    @cached_property
    def _lean_contrast(self) -> Contrast:
        rows = self.leans
        return Contrast(self.rates.units[rows], self.rates.strata[rows], self.rates.has[rows])


def read_property(
    of: Property,
    first: HalfExamples,
    second: HalfExamples,
    first_values: Array,
    second_values: Array,
) -> PropertyReading:
    """Decide on half 0 what a property points to, or which side of it counts, and read it on half 1."""
    names = fixed_choices([*first.examples, *second.examples])
    threshold = None if of.kind == "yes/no" else _middle(first_values)
    has_first, has = _holds(first_values, threshold), _holds(second_values, threshold)
    known_first, known = ~np.isnan(first_values), ~np.isnan(second_values)
    if of.points_to is not None:
        return _of_pointer(of, second, known, names is not None)
    side = None if threshold is None else f"above {threshold:g}"
    if names is not None:
        answer = _pointed_to(names, first, has_first, known_first)
        return _of_fixed(answer, names, side, second, has, known)
    if _marks_harder(first, has_first, known_first):
        has, side = known & ~has, WITHOUT if threshold is None else f"at most {threshold:g}"
    return _of_mark(side, second, has, known)


def _middle(values: Array) -> float:
    """The value above which most nearly half of the examples are."""
    present = np.sort(values[~np.isnan(values)])
    distinct = np.unique(present)[:-1]
    above = len(present) - np.searchsorted(present, distinct, side="right")
    return float(distinct[np.argmin(np.abs(above - len(present) / 2))])


def _holds(values: Array, threshold: float | None) -> Mask:
    return np.asarray(values == 1 if threshold is None else np.nan_to_num(values, nan=-np.inf) > threshold)


def _right_names(examples: Sequence[Example], names: list[str]) -> Codes:
    """The place of each example's right answer among the names of the choices."""
    return np.array([names.index(choice_names(e.choices or ())[e.answer or 0]) for e in examples], np.int64)


def _pointed_to(names: list[str], half: HalfExamples, has: Mask, known: Mask) -> int:
    """The answer that the model gives more often with the property than without, within the same right answer.

    Of more than two choices, the scores of a run tell only whether the right one was given.
    """
    right = _right_names(half.examples, names)
    best, largest = 0, -np.inf
    for answer in range(len(names)):
        rows = known & ~np.isnan(half.correct) & ((right == answer) | (len(names) == 2))
        given = np.where(right == answer, half.correct, 1 - half.correct)
        contrast = Contrast(half.units[rows], _joined(half.matched[rows], right[rows]), has[rows])
        difference = contrast.difference(given[rows, None])[0] if rows.any() else np.nan
        if difference > largest:
            best, largest = answer, difference
    return best


def _marks_harder(half: HalfExamples, has: Mask, known: Mask) -> bool:
    rows = known & ~np.isnan(half.correct)
    if not rows.any():
        return False
    contrast = Contrast(half.units[rows], half.matched[rows], has[rows])
    return bool(contrast.difference(half.correct[rows, None])[0] < 0)


def _of_fixed(
    answer: int, names: list[str], side: str | None, half: HalfExamples, has: Mask, known: Mask
) -> PropertyReading:
    """A property that points to one of choices that are the same in all examples."""
    right = _right_names(half.examples, names)
    rows = np.flatnonzero(known)
    places = [choice_names(half.examples[row].choices or ()).index(names[answer]) for row in rows]
    is_right = right == answer
    # of more than two choices, the margin is about the pointed-to answer only where that is the right one
    leans = is_right[rows] | (len(names) == 2)
    return PropertyReading(
        side=side,
        points_to=names[answer],
        has=has,
        known=known,
        rates=Contrast(half.units[rows], _joined(half.matched, right)[rows], has[rows]),
        example=rows,
        candidate=np.array(places, np.int64),
        leans=leans,
        sign=np.where(is_right[rows], 1.0, -1.0),
        points_right=has & is_right,
        points_wrong=has & ~is_right,
        beside_right=known & ~has & is_right,
    )


def _of_mark(side: str | None, half: HalfExamples, has: Mask, known: Mask) -> PropertyReading:
    """A property that marks examples; the candidate is the right choice."""
    rows = np.flatnonzero(known & ~np.isnan(half.correct))
    return PropertyReading(
        side=side,
        points_to=None,
        has=has,
        known=known,
        rates=Contrast(half.units[rows], half.matched[rows], has[rows]),
        example=rows,
        candidate=np.array([half.examples[row].answer or 0 for row in rows], np.int64),
        leans=np.ones(len(rows), bool),
        sign=np.ones(len(rows)),
        points_right=has,
        points_wrong=np.zeros(len(has), bool),
        beside_right=known & ~has,
    )


def _of_pointer(of: Property, half: HalfExamples, known: Mask, is_fixed: bool) -> PropertyReading:
    """A property that names a choice; a row for each choice of each example. `is_fixed`: whether all have the same."""
    assert of.points_to is not None
    example: list[int] = []
    candidate: list[int] = []
    pointed: list[bool] = []
    strata: list[tuple[bool, str, int, int]] = []
    right, wrong = np.zeros(len(known), bool), np.zeros(len(known), bool)
    for row in np.flatnonzero(known):
        one = half.examples[row]
        place = of.points_to(one)
        right[row], wrong[row] = place == one.answer, place is not None and place != one.answer
        for choice, name in enumerate(one.choices or ()):
            example.append(int(row))
            candidate.append(choice)
            pointed.append(choice == place)
            same = name if is_fixed else ""
            strata.append((choice == one.answer, same, len(one.choices or ()), int(half.matched[row])))
    rows = np.array(example, np.int64)
    codes = {key: code for code, key in enumerate(dict.fromkeys(strata))}
    is_right = np.array([key[0] for key in strata], bool)
    return PropertyReading(
        side=None,
        points_to="its choice",
        has=right,
        known=known,
        rates=Contrast(half.units[rows], np.array([codes[key] for key in strata], np.int64), np.array(pointed, bool)),
        example=rows,
        candidate=np.array(candidate, np.int64),
        leans=is_right,
        sign=np.ones(len(rows)),
        points_right=right,
        points_wrong=wrong,
        beside_right=known & ~right,
    )


def _joined(one: Codes, other: Codes) -> Codes:
    """A code for each combination of two."""
    return np.asarray(one * (int(other.max(initial=0)) + 1) + other)
