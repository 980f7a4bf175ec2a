"""The threshold of each neuron at each prompt position, above which it counts as active (see `stats.predictivity`)."""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from skilljobs.stats.neurons import LayerNeurons
from skilljobs.store.files import Folder
from skilljobs.store.neuron_values import read_values, values_bytes
from skilljobs.store.schema import THRESHOLDS

THRESHOLDS_NAME = "thresholds.parquet"


def threshold_bytes(
    thresholds: Sequence[NDArray[np.float64]], neurons: Sequence[LayerNeurons], about: Mapping[str, str] | None = None
) -> pa.Buffer:
    """Return the file of the thresholds, with one row group per layer. `thresholds`: tokens x neurons, each layer."""
    return values_bytes(thresholds, neurons, True, THRESHOLDS, about)


def read_thresholds(folder: Folder) -> list[NDArray[np.float64]]:
    """Return the thresholds of each layer, tokens x neurons, float64."""
    with folder.open(THRESHOLDS_NAME) as file:
        return read_values(file, THRESHOLDS)
