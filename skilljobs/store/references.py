"""The references of a run's neurons and metrics.

They are written once, before the first shard, and are only read afterwards.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import parquet as pq

from skilljobs.stats.layout import Layout
from skilljobs.stats.neurons import LayerNeurons
from skilljobs.store.files import Folder
from skilljobs.store.neuron_columns import neuron_columns
from skilljobs.store.schema import METRICS, REFERENCE, parquet_bytes

REFERENCE_NAME = "reference.parquet"
METRICS_NAME = "metrics.parquet"


def reference_bytes(
    references: Sequence[NDArray[np.float64]], neurons: Sequence[LayerNeurons], each_token: bool
) -> pa.Buffer:
    """Return the file of the neurons' references, with one row group per layer.

    Args:
        references: one array per layer, tokens x neurons, float64.
        neurons: those of each layer.
        each_token: whether the run keeps every prompt position; if not, the column `token` is null.
    """

    def tables() -> Iterator[pa.Table]:
        for layer, values in zip(neurons, references, strict=True):
            columns = neuron_columns(layer, len(values) if each_token else None)
            yield pa.table({**columns, "reference": pa.array(values.ravel())}, schema=REFERENCE)

    return parquet_bytes(tables(), REFERENCE)


def metrics_bytes(layout: Layout, references: Sequence[float]) -> pa.Buffer:
    """Return the metrics file, which has a row for each metric of `layout` with its reference."""
    rows = [
        {
            "metric": metric.name,
            "kind": metric.kind,
            "nullable": metric.nullable,
            "column": metric.column,
            "level": metric.level,
            "reference": reference,
        }
        for metric, reference in zip(layout.metrics, references, strict=True)
    ]
    return parquet_bytes([pa.Table.from_pylist(rows, METRICS)], METRICS)


def read_references(folder: Folder) -> tuple[list[NDArray[np.float64]], NDArray[np.float64]]:
    """Return the references of the neurons and of the metrics, all float64.

    Returns:
        A list with one array per layer (tokens x neurons), and an array with one value per metric.
    """
    with folder.open(REFERENCE_NAME) as file:
        parquet_file = pq.ParquetFile(file)
        layers = [_layer(parquet_file, layer) for layer in range(parquet_file.num_row_groups)]
    with folder.open(METRICS_NAME) as file:
        metrics = pq.read_table(file)["reference"].to_numpy().copy()
    return layers, metrics


def read_layer_reference(folder: Folder, layer: int) -> NDArray[np.float64]:
    """Return the references of the neurons of the layer at this place (tokens x neurons, float64)."""
    with folder.open(REFERENCE_NAME) as file:
        return _layer(pq.ParquetFile(file), layer)


def _layer(parquet_file: pq.ParquetFile, layer: int) -> NDArray[np.float64]:
    table = parquet_file.read_row_group(layer, columns=["token", "reference"])
    last_token = pc.max(table["token"]).as_py()
    return np.array(table["reference"].to_numpy(), np.float64).reshape(1 if last_token is None else last_token + 1, -1)
