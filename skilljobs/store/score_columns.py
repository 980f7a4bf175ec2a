"""The model-derived metrics of all examples of a run, column by column."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from pyarrow import parquet as pq

from skilljobs.spill.spilled_column import SpilledColumn, named_columns
from skilljobs.store.files import Folder
from skilljobs.store.shards import scores_name


def read_scores(folder: Folder, shards: int, names: Sequence[str]) -> dict[str, SpilledColumn[np.float64]]:
    """Return the model-derived metrics `names` of every example, in the order of the shards, with NaN for null."""
    found = named_columns(names, np.float64)
    for shard in range(shards):
        with folder.open(scores_name(shard)) as opened:
            scores = pq.read_table(opened, columns=list(names))
        for name, column in found.items():
            column.append(np.asarray(scores[name].cast(pa.float64()).to_numpy(), np.float64))
    return found
