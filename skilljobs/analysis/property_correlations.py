"""r of neurons with properties that some examples have no value of, within the groups of a population."""

import numpy as np
from numpy.typing import NDArray

from skilljobs.analysis.half_examples import Array, Codes, HalfExamples
from skilljobs.stats.unit_permutations import centred, correlations


def by_presence(values: Array) -> list[tuple[NDArray[np.bool_], Codes]]:
    """The properties that the same examples have a value of: which examples, and the properties' places."""
    present = ~np.isnan(values)
    groups: dict[bytes, list[int]] = {}
    for place in range(values.shape[1]):
        groups.setdefault(present[:, place].tobytes(), []).append(place)
    return [(present[:, places[0]], np.array(places)) for places in groups.values()]


def property_correlations(half: HalfExamples, activations: Array, values: Array) -> Array:
    """r of each neuron with each property, N x M, over the examples that have a value; NaN where it is undefined."""
    r = np.full((activations.shape[1], values.shape[1]), np.nan)
    for rows, places in by_presence(values):
        groups = half.centred_on[rows]
        r[:, places] = correlations(centred(activations[rows], groups), centred(values[np.ix_(rows, places)], groups))
    return r
