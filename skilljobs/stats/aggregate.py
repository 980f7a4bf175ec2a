"""Averaging correlations over several soft prompts that were used on the same examples."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from skilljobs.stats.correlate import with_significance
from skilljobs.stats.predictivity import COLUMNS

Array = NDArray[np.float64]


def mean_correlation(r: Array) -> Array:
    """Return the mean of correlations by Fisher's z over the first axis, NaN where any of them is NaN."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.tanh(np.arctanh(r).mean(0)))


def mean_over_prompts(columns: Sequence[Mapping[str, Array]], degrees_of_freedom: int) -> dict[str, Array]:
    """Return the columns of `correlations`, averaged over prompts; each item of `columns` has those of one prompt.

    The interval and p of the mean r are computed as for a single prompt, since more prompts are not more examples;
    they are conservative where prompts disagree. q is left NaN.
    """
    return with_significance(mean_strengths(columns), degrees_of_freedom)


def mean_strengths(columns: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    """Return the columns `STRENGTHS`, averaged over prompts.

    r is the mean by Fisher's z. The standard deviation is the square root of the mean variance, which does not include
    the differences between the prompts' means.
    """

    def over_prompts(name: str) -> Array:
        return np.stack([prompt_columns[name] for prompt_columns in columns])

    return {
        "r": mean_correlation(over_prompts("r")),
        "r_half0": mean_correlation(over_prompts("r_half0")),
        "r_half1": mean_correlation(over_prompts("r_half1")),
        "activation_mean": over_prompts("activation_mean").mean(0),
        "activation_std": np.sqrt(np.square(over_prompts("activation_std")).mean(0)),
    }


def mean_predictivity(predictivity: Sequence[Array]) -> dict[str, Array]:
    """Return the mean over prompts, NaN where that of any is; no token, as each prompt has its own best one."""
    mean = np.stack(predictivity).mean(0)
    return dict(zip(COLUMNS, (mean, np.full_like(mean, np.nan)), strict=True))
