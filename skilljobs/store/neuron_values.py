"""Files with a number for each neuron, or for each prompt position of each: a row group for each layer."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import parquet as pq

from skilljobs.stats.neurons import LayerNeurons
from skilljobs.store.neuron_columns import neuron_columns
from skilljobs.store.schema import parquet_bytes


def values_bytes(
    values: Sequence[NDArray[np.float64]],
    neurons: Sequence[LayerNeurons],
    each_token: bool,
    schema: pa.Schema,
    about: Mapping[str, str] | None = None,
) -> pa.Buffer:
    """Return a file of `values`, which are in the last column of `schema`.

    Args:
        values: one array per layer, tokens x neurons, float64.
        neurons: those of each layer.
        each_token: whether there is a value for every prompt position; if not, the column `token` is null.
        about: as for `parquet_bytes`.
    """

    def tables() -> Iterator[pa.Table]:
        for layer, of_layer in zip(neurons, values, strict=True):
            columns = neuron_columns(layer, len(of_layer) if each_token else None)
            yield pa.table({**columns, schema.names[-1]: pa.array(of_layer.ravel())}, schema=schema)

    return parquet_bytes(tables(), schema, about=about)


def read_values(
    file: pa.NativeFile, schema: pa.Schema, layers: Sequence[int] | None = None
) -> list[NDArray[np.float64]]:
    """Return the values of the layers at these places of a file, of all by default: tokens x neurons, float64."""
    parquet_file, column = pq.ParquetFile(file), schema.names[-1]
    values = []
    for layer in range(parquet_file.num_row_groups) if layers is None else layers:
        table = parquet_file.read_row_group(layer, columns=["token", column])
        last_token = pc.max(table["token"]).as_py()
        tokens = 1 if last_token is None else last_token + 1
        values.append(np.array(table[column].to_numpy(), np.float64).reshape(tokens, -1))
    return values
