"""Traced neurons: their activations example by example, and the tokens that they write."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet as pq

from skilljobs.stats.layout import ALL, NULL
from skilljobs.store.files import Folder
from skilljobs.store.run import TOP_NAME
from skilljobs.store.schema import ACTIVATIONS, parquet_bytes

TRACED_EXAMPLES = 2000
TRACED_NEURONS = 10
"""Of each metric."""


@dataclass(frozen=True, slots=True)
class TracedNeuron:
    """`token` is None where activations are aggregated over the prompt positions."""

    layer: int
    neuron: int
    token: int | None


def neurons_to_trace(folder: Folder) -> list[TracedNeuron]:
    """The `TRACED_NEURONS` of largest |r| with each metric over `all`, null metrics apart, in order of their place."""
    with folder.open(TOP_NAME) as file:
        top = pq.read_table(file, columns=["layer", "neuron", "token", "metric", "population"])
    found: dict[str, list[TracedNeuron]] = {}
    for row in top.to_pylist():
        if row["population"] == ALL and not row["metric"].startswith(NULL):
            of_metric = found.setdefault(row["metric"], [])
            if len(of_metric) < TRACED_NEURONS:
                of_metric.append(TracedNeuron(row["layer"], row["neuron"], row["token"]))
    chosen = {neuron for of_metric in found.values() for neuron in of_metric}
    return sorted(chosen, key=lambda neuron: (neuron.layer, neuron.neuron, neuron.token or 0))


def activations_bytes(
    ids: Sequence[str], neurons: Sequence[TracedNeuron], activations: NDArray[np.float64]
) -> pa.Buffer:
    """The file of traced activations. `activations`: examples x neurons; a row group for each layer that has one."""

    def tables() -> Iterator[pa.Table]:
        for layer in sorted({neuron.layer for neuron in neurons}):
            places = [place for place, neuron in enumerate(neurons) if neuron.layer == layer]
            tokens = [neurons[place].token for place in places for _ in ids]
            indices = np.tile(np.arange(len(ids), dtype=np.int32), len(places))
            yield pa.table(
                {
                    "example_id": pa.DictionaryArray.from_arrays(indices, list(ids)).cast(pa.string()),
                    "layer": np.full(len(indices), layer, np.int16),
                    "neuron": np.repeat([neurons[place].neuron for place in places], len(ids)).astype(np.int32),
                    "token": pa.array(tokens, pa.int16()),
                    "activation": activations[:, places].T.ravel(),
                },
                schema=ACTIVATIONS,
            )

    return parquet_bytes(tables(), ACTIVATIONS)
