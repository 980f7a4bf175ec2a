"""What travels to a scorer: everything that it needs to know, in a few kilobytes and without torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from skilljobs.engine.cluster.visibility import Landmarks
from skilljobs.engine.numerics import Numerics
from skilljobs.lm.source import ModelSource
from skilljobs.spec import JobSpec
from skilljobs.stats.layout import Layout
from skilljobs.tasks.metrics import ExternalMetric, Population


@dataclass(frozen=True)
class Reading:
    """What is read of every example."""

    layout: Layout
    external: tuple[ExternalMetric, ...]
    populations: tuple[Population, ...]
    null_values: NDArray[np.float64] | None
    """What skewed null metrics are drawn from; None where there are none."""
    of_choices: Mapping[str, int] = field(default_factory=dict)
    """The task's own model-derived metrics: each the probability of the choice at an index."""


@dataclass(frozen=True)
class ScorerJob:
    """The run that a scorer works for."""

    uri: str
    """The run's directory."""
    run_id: str
    spec: JobSpec
    source: ModelSource
    reading: Reading
    numerics: Numerics
    answer_end: str | None
    """What ends an answer; None: the tokenizer's end of sequence."""
    elsewhere: bool = False
    """Whether scorers may be on other machines than the driver."""
    landmarks: Landmarks | None = None
    """By which a scorer's machine is known to see run and model; None: that is not asked."""
