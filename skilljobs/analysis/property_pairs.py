"""Pairs of yes/no properties that a neuron follows more than either one alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations

import numpy as np

from skilljobs.analysis.half_examples import Array, HalfExamples
from skilljobs.analysis.property_correlations import property_correlations
from skilljobs.hashing import stable_hash
from skilljobs.properties.candidates import FEWEST, Candidate
from skilljobs.properties.property import Property, values_of
from skilljobs.stats.unit_permutations import centred
from skilljobs.tasks.base import Example

PAIRED, PAIRS = 8, 3
"""Properties of a neuron of which pairs are made, and pairs that are kept for it."""
RESAMPLES = 1000


@dataclass(frozen=True)
class PropertyPair:
    """Two properties combined, the place of the neuron that it was found for, and those of the properties."""

    candidate: Candidate
    neuron: int
    parts: tuple[int, int]


def pairs_of(candidates: Sequence[Candidate], r: Array, first: HalfExamples, activations: Array) -> list[PropertyPair]:
    """The pairs that each neuron follows more than either property alone, on half 0."""
    yes_no = [place for place, of in enumerate(candidates) if of.property.kind == "yes/no"]
    found = []
    for neuron in range(len(r)):
        sizes = np.nan_to_num(np.abs(r[neuron]))
        strongest = sorted(yes_no, key=lambda place: -sizes[place])[:PAIRED]
        of_neuron = []
        for one, other in combinations(strongest, 2):
            for both in _combined(candidates[one].property, candidates[other].property):
                values = values_of([both], first.examples)
                present = values[~np.isnan(values)]
                if min((present == 1).sum(), (present == 0).sum()) < FEWEST:
                    continue
                size = abs(float(property_correlations(first, activations[:, [neuron]], values)[0, 0]))
                if size > max(sizes[one], sizes[other]):
                    gain = size - max(sizes[one], sizes[other])
                    of_neuron.append((gain, PropertyPair(Candidate(both, (), values[:, 0]), neuron, (one, other))))
        found += [pair for _, pair in sorted(of_neuron, key=lambda item: -item[0])[:PAIRS]]
    return found


def _combined(one: Property, other: Property) -> list[Property]:
    return [
        Property(f"{one.name}, and {other.name}", "yes/no", partial(_both, one, other, True, True)),
        Property(f"{one.name}, but not: {other.name}", "yes/no", partial(_both, one, other, True, False)),
        Property(f"{other.name}, but not: {one.name}", "yes/no", partial(_both, one, other, False, True)),
    ]


def _both(one: Property, other: Property, wants_one: bool, wants_other: bool, example: Example) -> float | None:
    values = one.value(example), other.value(example)
    if values[0] is None or values[1] is None:
        return None
    return float((values[0] == 1) == wants_one and (values[1] == 1) == wants_other)


def beats_both(half: HalfExamples, activations: Array, columns: Array, seed: int) -> bool:
    """Whether |r| of the first column is larger than those of the others, by the 95 % interval over units."""
    rows = ~np.isnan(columns).any(1)
    groups = half.centred_on[rows]
    both = np.concatenate([centred(activations[rows, None], groups), centred(columns[rows], groups)], 1)
    _, units = np.unique(half.units[rows], return_inverse=True)
    count = int(units.max(initial=-1)) + 1
    if count < 2:
        return False
    products = np.concatenate([both, both**2, both[:, :1] * both[:, 1:], np.ones((len(both), 1))], 1)
    sums = np.stack([np.bincount(units, column, count) for column in products.T], 1)
    rng = np.random.default_rng(stable_hash("pairs", seed))
    weights = np.stack([np.bincount(rng.integers(count, size=count), minlength=count) for _ in range(RESAMPLES)])
    drawn = weights @ sums
    size = drawn[:, -1:]
    mean, square, cross = drawn[:, :4] / size, drawn[:, 4:8] / size, drawn[:, 8:11] / size
    variance = square - mean**2
    spread = np.sqrt(np.where(variance > 0, variance, np.nan))
    with np.errstate(divide="ignore", invalid="ignore"):
        r = np.abs((cross - mean[:, :1] * mean[:, 1:]) / (spread[:, :1] * spread[:, 1:]))
    gain = r[:, 0] - np.maximum(r[:, 1], r[:, 2])
    return not bool(np.isnan(gain).all()) and bool(np.nanquantile(gain, 0.025) > 0)
