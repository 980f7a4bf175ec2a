"""Traced neurons: which neurons are traced, and the file of their activations example by example."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet as pq

from skilljobs.stats.layout import ALL, NULL
from skilljobs.stats.neurons import NeuronName
from skilljobs.store.files import Folder
from skilljobs.store.run import TOP_NAME
from skilljobs.store.schema import ACTIVATIONS, parquet_bytes

TRACED_EXAMPLES = 2000
TRACED_NEURONS = 10
"""Number of neurons that are traced for each metric."""


@dataclass(frozen=True, slots=True)
class TracedNeuron:
    """A traced neuron. `token` is None if activations are aggregated over the prompt positions."""

    name: NeuronName
    token: int | None


def neurons_to_trace(folder: Folder) -> list[TracedNeuron]:
    """Return the `TRACED_NEURONS` neurons with the largest |r| for each metric over `all`, without null metrics.

    They are sorted by layer, expert, neuron and token, and each is returned once.
    """
    with folder.open(TOP_NAME) as file:
        top = pq.read_table(file, columns=["layer", "expert", "neuron", "token", "metric", "population"])
    by_metric: dict[str, list[TracedNeuron]] = {}
    for row in top.to_pylist():
        if row["population"] == ALL and not row["metric"].startswith(NULL):
            neurons = by_metric.setdefault(row["metric"], [])
            if len(neurons) < TRACED_NEURONS:
                neurons.append(TracedNeuron(NeuronName(row["layer"], row["expert"], row["neuron"]), row["token"]))
    chosen = {neuron for neurons in by_metric.values() for neuron in neurons}
    return sorted(chosen, key=lambda neuron: (*neuron.name.order, neuron.token or 0))


def activations_bytes(
    ids: Sequence[str],
    neurons: Sequence[TracedNeuron],
    activations: NDArray[np.float64],
    about: Mapping[str, str] | None = None,
) -> pa.Buffer:
    """Return the file of traced activations, with a row group for each layer that has a traced neuron.

    `activations` is examples x neurons, float64, in the order of `ids` and `neurons`; `about` is as for
    `parquet_bytes`.
    """

    def tables() -> Iterator[pa.Table]:
        for layer in sorted({neuron.name.layer for neuron in neurons}):
            columns = [column for column, neuron in enumerate(neurons) if neuron.name.layer == layer]
            tokens = [neurons[column].token for column in columns for _ in ids]
            indices = np.tile(np.arange(len(ids), dtype=np.int32), len(columns))
            yield pa.table(
                {
                    "example_id": pa.DictionaryArray.from_arrays(indices, list(ids)).cast(pa.string()),
                    "layer": np.full(len(indices), layer, np.int16),
                    "expert": pa.array([neurons[column].name.expert for column in columns for _ in ids], pa.int16()),
                    "neuron": np.repeat([neurons[column].name.neuron for column in columns], len(ids)).astype(np.int32),
                    "token": pa.array(tokens, pa.int16()),
                    "activation": activations[:, columns].T.ravel(),
                },
                schema=ACTIVATIONS,
            )

    return parquet_bytes(tables(), ACTIVATIONS, about=about)
