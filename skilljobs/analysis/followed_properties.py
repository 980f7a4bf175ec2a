"""Which properties the activation of each neuron follows: found on half 0, judged on half 1."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from skilljobs.analysis.half_examples import Array, Codes, HalfExamples
from skilljobs.hashing import stable_hash
from skilljobs.properties.candidates import FEWEST, Candidate
from skilljobs.properties.property import Property, values_of
from skilljobs.stats.correlate import false_discovery_rate
from skilljobs.stats.unit_permutations import centred, correlations, draws_for, permutation_p
from skilljobs.tasks.base import Example

LEVEL = 0.05
PAIRED, PAIRS = 8, 3
"""Properties of a neuron of which pairs are made, and pairs that are kept for it."""
RESAMPLES = 1000


@dataclass(frozen=True)
class Followed:
    """How N neurons follow M properties. Arrays are N x M; NaN where r is undefined, or a pair is another neuron's.

    `values`: of the properties on half 1, examples x M. `metric_r`: of each property with the metric on half 1, M; NaN
    without a metric.
    """

    candidates: list[Candidate]
    values: Array
    r_half0: Array
    r_half1: Array
    p: Array
    q: Array
    q_half0: Array
    auc: Array
    metric_r: Array

    @property
    def in_half0(self) -> NDArray[np.bool_]:
        """Where half 0 alone says that a neuron follows a property."""
        return np.asarray(self.q_half0 < LEVEL)

    @property
    def follows(self) -> NDArray[np.bool_]:
        """Where half 1 confirms it, with the same sign."""
        return np.asarray(self.in_half0 & (self.q < LEVEL) & (self.r_half0 * self.r_half1 > 0))


def followed_properties(
    first: HalfExamples,
    second: HalfExamples,
    activations: tuple[Array, Array],
    candidates: Sequence[Candidate],
    seed: int,
) -> Followed:
    """Correlate the activations of neurons (of each half: examples x N) with candidate properties, pairs included.

    Pairs of yes/no properties are found on half 0 for each neuron. One is kept if its |r| on half 1 is larger than
    those of both of its properties by more than the 95 % interval of the difference, over units.
    """
    on_first = np.stack([candidate.values for candidate in candidates], 1)
    single_r = _r(first, activations[0], on_first)
    pairs = _pairs(candidates, single_r, first, activations[0])
    everything = [*candidates, *(pair.candidate for pair in pairs)]
    values = (
        np.stack([candidate.values for candidate in everything], 1),
        values_of([candidate.property for candidate in everything], second.examples),
    )
    allowed = np.ones((activations[0].shape[1], len(everything)), bool)
    for place, pair in enumerate(pairs, len(candidates)):
        allowed[:, place] = np.arange(len(allowed)) == pair.neuron
    r = [_r(half, of, found) for half, of, found in zip((first, second), activations, values, strict=True)]
    p = [_p(half, of, found, seed) for half, of, found in zip((first, second), activations, values, strict=True)]
    q = [_q(np.where(allowed, found, np.nan)) for found in p]
    kept = list(range(len(candidates)))
    for place, pair in enumerate(pairs, len(candidates)):
        columns = values[1][:, [place, *pair.parts]]
        if _beats_both(second, activations[1][:, pair.neuron], columns, seed):
            kept.append(place)
    cut = np.ix_(np.arange(len(allowed)), np.array(kept))
    masked = [np.where(allowed, found, np.nan)[cut] for found in (*r, p[1])]
    return Followed(
        candidates=[everything[place] for place in kept],
        values=values[1][:, kept],
        r_half0=masked[0],
        r_half1=masked[1],
        p=masked[2],
        q=q[1][cut],
        q_half0=q[0][cut],
        auc=np.where(allowed, _auc(activations[1], everything, values[1]), np.nan)[cut],
        metric_r=_metric_r(second, values[1])[kept],
    )


@dataclass(frozen=True)
class _Pair:
    candidate: Candidate
    neuron: int
    parts: tuple[int, int]


def _pairs(candidates: Sequence[Candidate], r: Array, first: HalfExamples, activations: Array) -> list[_Pair]:
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
                size = abs(float(_r(first, activations[:, [neuron]], values)[0, 0]))
                if size > max(sizes[one], sizes[other]):
                    gain = size - max(sizes[one], sizes[other])
                    of_neuron.append((gain, _Pair(Candidate(both, (), values[:, 0]), neuron, (one, other))))
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


def _by_presence(values: Array) -> list[tuple[NDArray[np.bool_], Codes]]:
    """The properties that the same examples have a value of: which examples, and the properties' places."""
    present = ~np.isnan(values)
    groups: dict[bytes, list[int]] = {}
    for place in range(values.shape[1]):
        groups.setdefault(present[:, place].tobytes(), []).append(place)
    return [(present[:, places[0]], np.array(places)) for places in groups.values()]


def _r(half: HalfExamples, activations: Array, values: Array) -> Array:
    r = np.full((activations.shape[1], values.shape[1]), np.nan)
    for rows, places in _by_presence(values):
        groups = half.centred_on[rows]
        r[:, places] = correlations(centred(activations[rows], groups), centred(values[np.ix_(rows, places)], groups))
    return r


def _p(half: HalfExamples, activations: Array, values: Array, seed: int) -> Array:
    p = np.full((activations.shape[1], values.shape[1]), np.nan)
    draws = draws_for(values.shape[1])
    for rows, places in _by_presence(values):
        groups = half.centred_on[rows]
        p[:, places] = permutation_p(
            centred(activations[rows], groups),
            centred(values[np.ix_(rows, places)], groups),
            half.units[rows],
            draws,
            seed,
        )
    return p


def _q(p: Array) -> Array:
    return np.stack([false_discovery_rate(of_neuron) for of_neuron in p])


def _auc(activations: Array, candidates: Sequence[Candidate], values: Array) -> Array:
    """How often the activation is larger with a yes/no property than without it; ties count half."""
    auc = np.full((activations.shape[1], len(candidates)), np.nan)
    ranks = np.stack([rankdata(column) for column in activations.T], 1)
    for place, candidate in enumerate(candidates):
        has, present = values[:, place] == 1, ~np.isnan(values[:, place])
        yes, no = int(has.sum()), int((present & ~has).sum())
        if candidate.property.kind == "yes/no" and yes and no:
            of = ranks if present.all() else np.stack([rankdata(column) for column in activations[present].T], 1)
            auc[:, place] = (of[has[present]].sum(0) - yes * (yes + 1) / 2) / (yes * no)
    return auc


def _metric_r(half: HalfExamples, values: Array) -> Array:
    if half.metric is None:
        return np.full(values.shape[1], np.nan)
    has = ~np.isnan(half.metric)
    r = np.full(values.shape[1], np.nan)
    for rows, places in _by_presence(values):
        both = rows & has
        groups = half.centred_on[both]
        if both.sum() > 2:
            columns = centred(values[np.ix_(both, places)], groups)
            r[places] = correlations(centred(half.metric[both, None], groups), columns)[0]
    return r


def _beats_both(half: HalfExamples, activations: Array, columns: Array, seed: int) -> bool:
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
