"""The correlations of one layer, metric and population as a table."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from skilljobs.store.schema import CORRELATIONS


def correlation_table(
    columns: Mapping[str, NDArray[np.float64]], layer: int, tokens: int | None, metric: str, population: str, n: int
) -> pa.Table:
    """One row for each neuron, token by token; NaN becomes null. With `tokens` None each neuron has a single row."""
    rows = len(columns["r"])
    neurons = rows // (tokens or 1)
    token = pa.nulls(rows, pa.int16())
    if tokens is not None:
        token = pa.array(np.repeat(np.arange(tokens, dtype=np.int16), neurons))
    return pa.table(
        {
            "layer": np.full(rows, layer, np.int16),
            "token": token,
            "neuron": np.tile(np.arange(neurons, dtype=np.int32), tokens or 1),
            "metric": pa.repeat(metric, rows),
            "population": pa.repeat(population, rows),
            "n": np.full(rows, n, np.int64),
            **{name: pa.array(values, from_pandas=True) for name, values in columns.items()},
        },
        schema=CORRELATIONS,
    )
