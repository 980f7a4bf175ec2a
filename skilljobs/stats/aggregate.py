"""One correlation of several: the same examples read under several soft prompts."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from skilljobs.stats.correlate import interval, p_value

Array = NDArray[np.float64]


def mean_correlation(r: Array) -> Array:
    """The mean by Fisher's z, over the first axis; NaN where any is."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.tanh(np.arctanh(r).mean(0)))


def mean_over_prompts(columns: Sequence[Mapping[str, Array]], degrees_of_freedom: int) -> dict[str, Array]:
    """The columns of `correlations`, of each neuron over the prompts: `columns` has those of one prompt each.

    r is the mean by Fisher's z. Its interval and p are those of a single prompt's r, since more prompts are not more
    examples: they are conservative where prompts disagree. q is left NaN. The standard deviation is the root of the
    mean variance, which leaves out how far the prompts' means differ.
    """

    def over_prompts(name: str) -> Array:
        return np.stack([of_prompt[name] for of_prompt in columns])

    r = mean_correlation(over_prompts("r"))
    low, high = interval(r, degrees_of_freedom)
    return {
        "r": r,
        "ci_low": low,
        "ci_high": high,
        "p": p_value(r, degrees_of_freedom),
        "q": np.full_like(r, np.nan),
        "r_half0": mean_correlation(over_prompts("r_half0")),
        "r_half1": mean_correlation(over_prompts("r_half1")),
        "activation_mean": over_prompts("activation_mean").mean(0),
        "activation_std": np.sqrt(np.square(over_prompts("activation_std")).mean(0)),
    }
