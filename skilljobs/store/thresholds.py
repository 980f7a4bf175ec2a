"""The threshold of each neuron at each prompt position, above which it counts as active (see `stats.predictivity`)."""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet as pq

from skilljobs.stats.neurons import LayerNeurons
from skilljobs.store.files import Folder
from skilljobs.store.neuron_columns import neuron_columns
from skilljobs.store.schema import THRESHOLDS, parquet_bytes

THRESHOLDS_NAME = "thresholds.parquet"


def threshold_bytes(thresholds: Sequence[NDArray[np.float64]], neurons: Sequence[LayerNeurons]) -> pa.Buffer:
    """Return the file of the thresholds, with one row group per layer. `thresholds`: tokens x neurons, each layer."""

    def tables() -> Iterator[pa.Table]:
        for layer, values in zip(neurons, thresholds, strict=True):
            columns = neuron_columns(layer, len(values))
            yield pa.table({**columns, "threshold": pa.array(values.ravel())}, schema=THRESHOLDS)

    return parquet_bytes(tables(), THRESHOLDS)


def read_thresholds(folder: Folder) -> list[NDArray[np.float64]]:
    """Return the thresholds of each layer, tokens x neurons, float64."""
    with folder.open(THRESHOLDS_NAME) as file:
        parquet_file = pq.ParquetFile(file)
        tables = [parquet_file.read_row_group(number) for number in range(parquet_file.num_row_groups)]
    return [
        np.array(table["threshold"].to_numpy(), np.float64).reshape(1 + max(table["token"].to_pylist()), -1)
        for table in tables
    ]
