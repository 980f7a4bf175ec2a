"""Thresholds of neurons, and counting the examples whose activations are above them (see `stats.predictivity`)."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from skilljobs.errors import JobFailed
from skilljobs.lm.batch import TokenizedExample, plan_batches
from skilljobs.lm.forward import are_finite
from skilljobs.lm.memory import in_parts
from skilljobs.lm.model import FrozenLM
from skilljobs.lm.results import NOT_FINITE_ADVICE
from skilljobs.lm.trace import read_activations
from skilljobs.plan.work import Reading
from skilljobs.stats.sums import ShardSums
from skilljobs.worker.accumulator import SumsAccumulator


def mean_activations(
    lm: FrozenLM, prompt: torch.Tensor, examples: Sequence[TokenizedExample], batch_tokens: int
) -> list[NDArray[np.float64]]:
    """Return the mean activation of each neuron at each prompt position: tokens x neurons, for each layer.

    `prompt` is P x d_model, on the model's device. Examples with an activation that is not finite are left out.

    Raises:
        JobFailed: no example has finite activations.
    """
    count, totals = 0, [torch.zeros((), dtype=torch.float64)] * len(lm.neurons)

    def run(part: list[int]) -> list[torch.Tensor]:
        return read_activations(lm, prompt, [examples[index] for index in part], "each")

    for batch in plan_batches(examples, len(prompt), batch_tokens):
        for _, activations in in_parts(batch, run):
            finite = are_finite(activations).all(0)
            count += int(finite.sum())
            totals = [
                total.to(layer.device) + layer[finite.to(layer.device)].sum(0)
                for total, layer in zip(totals, activations, strict=True)
            ]
    if count == 0:
        raise JobFailed("no train example has finite activations", NOT_FINITE_ADVICE)
    return [(total / count).cpu().numpy() for total in totals]


class ThresholdCounter:
    """Counts, for each population, how often a neuron is above its threshold, and how often with a yes metric too."""

    def __init__(self, reading: Reading, thresholds: Sequence[torch.Tensor]) -> None:
        """`thresholds`: float64, tokens x neurons, one for each layer, on the device of the activations."""
        assert reading.counted is not None
        self._thresholds = thresholds
        self._columns = [
            place for place, metric in enumerate(reading.layout.metrics) if metric.name in set(reading.yes_no)
        ]
        nothing = torch.zeros(len(self._columns), dtype=torch.float64)
        self._counts = SumsAccumulator(reading.counted, [torch.zeros_like(layer) for layer in thresholds], nothing)

    def add(self, activations: Sequence[torch.Tensor], values: torch.Tensor, members: torch.Tensor) -> None:
        """Count a batch; the arguments are as for `SumsAccumulator.add`, with a row of tokens for each position."""
        above = [(layer > threshold).double() for layer, threshold in zip(activations, self._thresholds, strict=True)]
        self._counts.add(above, values[:, self._columns], members)

    def fetch(self) -> Callable[[], ShardSums]:
        """End the counting. The function that this returns brings the counts to the host, from any thread."""
        return self._counts.fetch()
