"""Adding batches of activations and metrics up to the sums of a shard (see `skilljobs.worker.accumulator`), in float64.

A missing metric value is NaN.
"""

from collections.abc import Callable, Sequence

import torch

from skilljobs.lm.transfer import LaterCopy, to_device
from skilljobs.stats.layout import Layout
from skilljobs.stats.sums import ShardSums


class SumsAccumulator:
    """Adds batches: one matrix product of all design columns with all neurons of a layer."""

    def __init__(self, layout: Layout, references: Sequence[torch.Tensor], metric_references: torch.Tensor) -> None:
        """`references`: float64, tokens x neurons, one for each layer, on the device of the activations."""
        self.layout = layout
        self.references = [reference.flatten() for reference in references]
        self.device = references[0].device
        self.metric_references = to_device(metric_references.double(), self.device)
        populations, metrics, nullable = len(layout.populations), len(layout.metrics), len(layout.nullable)
        self.per_population = 1 + metrics + nullable

        def zeros(*shape: int) -> torch.Tensor:
            return torch.zeros(*shape, dtype=torch.float64, device=self.device)

        self.linear = [zeros(populations * self.per_population, len(c)) for c in self.references]
        self.square = [zeros(populations * (1 + nullable), len(c)) for c in self.references]
        self.count = zeros(populations)
        self.moments = [zeros(populations, metrics, metrics) for _ in range(4)]
        summed = [layout.metrics_of(population) for population in layout.populations]
        is_summed = torch.tensor([[place in places for place in range(metrics)] for places in summed])
        self.is_summed = to_device(is_summed, self.device)
        self.nullable = to_device(torch.tensor(layout.nullable, dtype=torch.long), self.device)

    def add(self, activations: Sequence[torch.Tensor], values: torch.Tensor, members: torch.Tensor) -> None:
        """Add a batch.

        Args:
            activations: one tensor for each layer, rows x tokens x neurons, float64.
            values: rows x M, float64, NaN where a row has no value.
            members: rows x K, bool: the populations that a row is in.
        """
        design, presence = self._design(to_device(values, self.device), to_device(members, self.device))
        for layer, activation in enumerate(activations):
            centred = activation.flatten(1) - self.references[layer]
            self.linear[layer].addmm_(design.T, centred)
            self.square[layer].addmm_(presence.T, centred.square_())

    def _design(self, values: torch.Tensor, members: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        rows = len(values)
        has = ~values.isnan()
        centred = torch.where(has, values - self.metric_references, 0.0)
        inside = members.double()
        nullable = has.index_select(1, self.nullable).double()
        ones = torch.ones(rows, 1, dtype=torch.float64, device=self.device)
        columns = torch.cat([ones, centred, nullable], 1)
        design = inside[:, :, None] * columns[:, None, :]
        design[:, :, 1 : 1 + len(self.layout.metrics)] *= self.is_summed
        presence = inside[:, :, None] * torch.cat([ones, nullable], 1)[:, None, :]
        self._add_moments(centred, has.double(), inside)
        return design.flatten(1), presence.flatten(1)

    def _add_moments(self, centred: torch.Tensor, has: torch.Tensor, inside: torch.Tensor) -> None:
        self.count += inside.sum(0)
        weighted = inside.T[:, :, None]
        for moment, (first, second) in zip(
            self.moments,
            [(has, has), (centred, has), (centred.square(), has), (centred, centred)],
            strict=True,
        ):
            moment += (weighted * first).transpose(1, 2) @ second

    def result(self) -> ShardSums:
        """The sums so far, on the host."""
        return self.fetch()()

    def fetch(self) -> Callable[[], ShardSums]:
        """End the adding. The function that this returns brings the sums to the host, from any thread."""
        copy = LaterCopy([*self.linear, *self.square, self.count, *self.moments])
        layers, populations, per_square = len(self.linear), len(self.layout.populations), 1 + len(self.layout.nullable)
        per_population = self.per_population

        def wait() -> ShardSums:
            arrays = [tensor.numpy() for tensor in copy.wait()]
            count, moment_count, total, square, product = arrays[2 * layers :]
            return ShardSums(
                linear=[sums.reshape(populations, per_population, -1) for sums in arrays[:layers]],
                square=[sums.reshape(populations, per_square, -1) for sums in arrays[layers : 2 * layers]],
                count=count.astype("int64"),
                moment_count=moment_count.astype("int64"),
                moment_sum=total,
                moment_square=square,
                moment_product=product,
            )

        return wait


def activation_reference(activations: torch.Tensor) -> torch.Tensor:
    """The reference of each neuron, tokens x neurons, from a first batch, rows x tokens x neurons of float64.

    It is the neuron's mean; for a constant neuron it is exactly the constant, so that its sums are exactly zero.
    """
    first = activations[0]
    return first + (activations - first).mean(0)


def metric_reference(values: torch.Tensor) -> float:
    """The reference of a metric from its values in a first batch (NaN where missing): 0 for a bool, else their mean.

    The mean is rounded if all values are whole numbers, so that sums of counts and lengths are exact integers.
    """
    present = values[~values.isnan()].double()
    if len(present) == 0 or bool(((present == 0) | (present == 1)).all()):
        return 0.0
    mean = (present[0] + (present - present[0]).mean()).item()
    return float(round(mean)) if bool((present == present.round()).all()) else mean
