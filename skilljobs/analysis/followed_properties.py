"""Which properties the activation of each neuron follows: found on half 0, judged on half 1."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from skilljobs.analysis.half_examples import Array, HalfExamples
from skilljobs.analysis.property_correlations import by_presence, property_correlations
from skilljobs.analysis.property_pairs import beats_both, pairs_of
from skilljobs.properties.candidates import Candidate
from skilljobs.properties.property import values_of
from skilljobs.stats.correlate import false_discovery_rate
from skilljobs.stats.unit_permutations import centred, correlations, draws_for, permutation_p

LEVEL = 0.05


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
    single_r = property_correlations(first, activations[0], on_first)
    pairs = pairs_of(candidates, single_r, first, activations[0])
    everything = [*candidates, *(pair.candidate for pair in pairs)]
    values = (
        np.stack([candidate.values for candidate in everything], 1),
        values_of([candidate.property for candidate in everything], second.examples),
    )
    allowed = np.ones((activations[0].shape[1], len(everything)), bool)
    for place, pair in enumerate(pairs, len(candidates)):
        allowed[:, place] = np.arange(len(allowed)) == pair.neuron
    r = [
        property_correlations(half, of, found)
        for half, of, found in zip((first, second), activations, values, strict=True)
    ]
    p = [_p(half, of, found, seed) for half, of, found in zip((first, second), activations, values, strict=True)]
    q = [_q(np.where(allowed, found, np.nan)) for found in p]
    kept = list(range(len(candidates)))
    for place, pair in enumerate(pairs, len(candidates)):
        columns = values[1][:, [place, *pair.parts]]
        if beats_both(second, activations[1][:, pair.neuron], columns, seed):
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


def _p(half: HalfExamples, activations: Array, values: Array, seed: int) -> Array:
    p = np.full((activations.shape[1], values.shape[1]), np.nan)
    draws = draws_for(values.shape[1])
    for rows, places in by_presence(values):
        groups = half.centred_on[rows]
        p[:, places] = permutation_p(
            centred(activations[rows], groups),
            centred(values[np.ix_(rows, places)], groups),
            half.units[rows],
            groups,
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
    for rows, places in by_presence(values):
        both = rows & has
        groups = half.centred_on[both]
        if both.sum() > 2:
            columns = centred(values[np.ix_(both, places)], groups)
            r[places] = correlations(centred(half.metric[both, None], groups), columns)[0]
    return r
