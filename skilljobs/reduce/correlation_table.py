"""The correlations of one layer, metric and population as a table."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from skilljobs.stats.neurons import LayerNeurons
from skilljobs.store.neuron_columns import neuron_columns
from skilljobs.store.schema import CORRELATIONS


def floats(column: pa.ChunkedArray) -> NDArray[np.float64]:
    """A column as float64, with NaN for null."""
    return np.array(column.to_numpy(), np.float64)


def correlation_table(
    columns: Mapping[str, NDArray[np.float64]],
    neurons: LayerNeurons,
    tokens: int | None,
    metric: str,
    population: str,
    n: int,
    schema: pa.Schema = CORRELATIONS,
) -> pa.Table:
    """One row for each neuron, token by token; NaN becomes null. With `tokens` None each neuron has a single row."""
    rows = len(columns["r"])
    return pa.table(
        {
            **neuron_columns(neurons, tokens),
            "metric": pa.repeat(metric, rows),
            "population": pa.repeat(population, rows),
            "n": np.full(rows, n, np.int64),
            **{
                name: pa.array(values, from_pandas=True).cast(schema.field(name).type)
                for name, values in columns.items()
            },
        },
        schema=schema,
    )
