"""The references of a run's neurons and metrics.

They are written once, before the first shard, and are only read afterwards.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import parquet as pq

from skilljobs.errors import InputError
from skilljobs.stats.layout import Layout
from skilljobs.stats.neurons import LayerNeurons
from skilljobs.store.files import Folder
from skilljobs.store.neuron_values import read_values, values_bytes
from skilljobs.store.schema import METRICS, NEURON_KEY, REFERENCE, parquet_bytes

REFERENCE_NAME = "reference.parquet"
METRICS_NAME = "metrics.parquet"


def reference_bytes(
    references: Sequence[NDArray[np.float64]],
    neurons: Sequence[LayerNeurons],
    each_token: bool,
    about: Mapping[str, str] | None = None,
) -> pa.Buffer:
    """Return the file of the neurons' references, with one row group per layer.

    Args:
        references: one array per layer, tokens x neurons, float64.
        neurons: those of each layer.
        each_token: whether the run keeps every prompt position; if not, the column `token` is null.
        about: as for `parquet_bytes`.
    """
    return values_bytes(references, neurons, each_token, REFERENCE, about)


def metrics_bytes(
    layout: Layout, references: Sequence[float], units: str, about: Mapping[str, str] | None = None
) -> pa.Buffer:
    """Return the metrics file, which has a row for each metric of `layout` with its reference.

    `units` is what the metrics are correlated with; `about` is as for `parquet_bytes`.
    """
    rows = [
        {
            "metric": metric.name,
            "kind": metric.kind,
            "nullable": metric.nullable,
            "column": metric.column,
            "level": metric.level,
            "reference": reference,
            "units": units,
        }
        for metric, reference in zip(layout.metrics, references, strict=True)
    ]
    return parquet_bytes([pa.Table.from_pylist(rows, METRICS)], METRICS, about=about)


def read_references(folder: Folder) -> tuple[list[NDArray[np.float64]], NDArray[np.float64]]:
    """Return the references of the neurons and of the metrics, all float64.

    Returns:
        A list with one array per layer (tokens x neurons), and an array with one value per metric.
    """
    with folder.open(REFERENCE_NAME) as file:
        layers = read_values(file, REFERENCE)
    with folder.open(METRICS_NAME) as file:
        metrics = pq.read_table(file)["reference"].to_numpy().copy()
    return layers, metrics


def metric_references(folder: Folder) -> dict[str, float]:
    """Return the reference of each metric, by its name."""
    with folder.open(METRICS_NAME) as file:
        table = pq.read_table(file)
    return dict(zip(table["metric"].to_pylist(), table["reference"].to_pylist(), strict=True))


def read_layer_reference(folder: Folder, layer: int) -> NDArray[np.float64]:
    """Return the references of the neurons of the layer at this place (tokens x neurons, float64)."""
    with folder.open(REFERENCE_NAME) as file:
        return read_values(file, REFERENCE, [layer])[0]


def rows_in_order(folder: Folder, layer: int, parts: Sequence[pa.Table], populations: int) -> NDArray[np.int64]:
    """Return the order that brings the rows of a layer's neurons, of one part after another, into that of the run.

    Each part has the same rows for each of `populations`; the order is that of the rows of one.

    Raises:
        InputError: the parts do not hold each neuron of the layer exactly once.
    """
    with folder.open(REFERENCE_NAME) as file:
        expected = _keys(pq.ParquetFile(file).read_row_group(layer, columns=NEURON_KEY))
    found = np.concatenate([_keys(part).reshape(populations, -1, len(NEURON_KEY)) for part in parts], 1)
    expected_order, found_order = np.lexsort(expected.T), np.lexsort(found[0].T)
    if not all(np.array_equal(of_one[found_order], expected[expected_order]) for of_one in found):
        raise InputError(
            f"the run at {folder.uri} is damaged: the sums that several ranks wrote of a layer do not hold each of its"
            " neurons once"
        )
    order = np.empty(len(expected), np.int64)
    order[expected_order] = found_order
    return order


def _keys(table: pa.Table) -> NDArray[np.int64]:
    """The columns that name the neuron of each row, rows x columns; -1 for null."""
    columns = [pc.fill_null(table[name].cast(pa.int64()), -1).to_numpy() for name in NEURON_KEY]
    return np.stack(columns, 1)
