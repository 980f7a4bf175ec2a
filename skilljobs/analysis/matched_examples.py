"""The examples of a run beside matched ones, for properties that all or nearly all examples of the run have."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from skilljobs.analysis.half_examples import Codes, HalfExamples, Halves, codes_of_groups, without_common_lines
from skilljobs.properties.candidates import FEWEST, Candidate
from skilljobs.stats.stratified import FEWEST_UNITS
from skilljobs.tasks.base import Example
from skilljobs.tasks.external_columns import external_columns

MATCHED = "matched:"
"""What the ids of matched examples begin with, and their units where these are their ids."""


@dataclass(frozen=True)
class MatchedHalves:
    """Both halves of a run's examples, followed by the matched examples of the same half.

    `across` compares all of them with each other, `within` the matched ones among themselves alone: there, whatever
    else the two sources differ in cannot be taken for the property.
    """

    across: Halves
    within: Halves
    of_run: tuple[int, int]
    """How many examples of each half are the run's."""

    @classmethod
    def of(cls, run: Halves, matched: Halves, groups: Sequence[str]) -> "MatchedHalves":
        """Put them together; examples are alike in those of the columns `groups` that both have."""
        everything = without_common_lines([*run, *matched])
        pairs = [(everything[half], _renamed(everything[2 + half])) for half in (0, 1)]
        columns = [name for name in groups if all(_has_column(half.examples, name) for pair in pairs for half in pair)]
        across = tuple(_joined(*pair, columns) for pair in pairs)
        sources = [np.repeat([0, 1], [len(one.examples), len(other.examples)]) for one, other in pairs]
        within = tuple(
            replace(half, centred_on=source, matched=2 * half.matched + source)
            for half, source in zip(across, sources, strict=True)
        )
        return cls(across, within, (len(run[0].examples), len(run[1].examples)))  # type: ignore[arg-type]

    def tells(self, candidate: Candidate) -> bool:
        """Whether the matched examples themselves have units enough with and without a yes/no property."""
        return all(min(self._units_with(candidate, half, value) for value in (0, 1)) >= FEWEST_UNITS for half in (0, 1))

    def is_enough(self, candidate: Candidate) -> bool:
        """Whether enough matched examples of either half lack the property to look at it at all."""
        return all(self._values(candidate, half)[0].count(0) >= FEWEST for half in (0, 1))

    def _values(self, candidate: Candidate, half: int) -> tuple[list[float | None], Codes]:
        matched = self.across[half].examples[self.of_run[half] :]
        return [candidate.property.value(example) for example in matched], self.across[half].units[self.of_run[half] :]

    def _units_with(self, candidate: Candidate, half: int, value: int) -> int:
        values, units = self._values(candidate, half)
        return len({int(unit) for found, unit in zip(values, units, strict=True) if found == value})


def _has_column(examples: Sequence[Example], name: str) -> bool:
    columns = {source.name: source for source in external_columns(examples)}
    return name in columns and any(columns[name].value(example) is not None for example in examples)


def _renamed(half: HalfExamples) -> HalfExamples:
    """With ids that no example of the run has, and units that it has only where the data name them."""
    examples = [
        replace(e, example_id=MATCHED + e.example_id, unit=MATCHED + e.unit if e.unit == e.example_id else e.unit)
        for e in half.examples
    ]
    return replace(half, examples=examples)


def _joined(one: HalfExamples, other: HalfExamples, columns: Sequence[str]) -> HalfExamples:
    examples = [*one.examples, *other.examples]
    _, units = np.unique([example.unit for example in examples], return_inverse=True)
    return HalfExamples(
        shards=(),
        examples=examples,
        places=np.concatenate([one.places, other.places]),
        units=units,
        centred_on=np.zeros(len(examples), np.int64),
        matched=codes_of_groups(examples, columns),
        metric=None,
        correct=np.concatenate([one.correct, other.correct]),
        confidence=np.concatenate([one.confidence, other.confidence]),
    )
