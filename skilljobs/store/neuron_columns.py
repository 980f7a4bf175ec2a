"""The columns that name the neuron of each row, for tables over all neurons of a layer."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from skilljobs.stats.neurons import NO_EXPERT, LayerNeurons


def neuron_columns(
    neurons: LayerNeurons, tokens: int | None, repeats: int = 1, places: NDArray[np.int64] | None = None
) -> dict[str, pa.Array]:
    """Return `layer`, `token`, `expert` and `neuron` of rows ordered by token and then as `neurons` are.

    Args:
        tokens: prompt positions kept of each neuron; None if they are aggregated, and `token` is then null.
        repeats: how many times all rows follow each other.
        places: of the neurons that there are rows of, among all those of the layer; None for all.
    """
    experts, numbers = neurons.expert_numbers, neurons.neuron_numbers
    if places is not None:
        experts, numbers = experts[places], numbers[places]
    rows = len(numbers) * (tokens or 1)
    token = pa.nulls(rows * repeats, pa.int16())
    if tokens is not None:
        token = pa.array(np.tile(np.repeat(np.arange(tokens, dtype=np.int16), len(numbers)), repeats))
    expert = np.tile(experts, (tokens or 1) * repeats)
    return {
        "layer": pa.array(np.full(rows * repeats, neurons.layer, np.int16)),
        "token": token,
        "expert": pa.array(expert, mask=expert == NO_EXPERT),
        "neuron": pa.array(np.tile(numbers, (tokens or 1) * repeats)),
    }
