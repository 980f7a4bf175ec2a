"""From the correlations of several prompts' runs to those of the run that holds them."""

from collections.abc import Sequence
from contextlib import ExitStack

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet as pq

from skilljobs.reduce.correlation_table import correlation_table, floats
from skilljobs.reduce.layers import ReduceJob, pairs, unranked_name
from skilljobs.reduce.shard_sums import read_moments
from skilljobs.stats.aggregate import mean_over_prompts, mean_predictivity
from skilljobs.stats.correlate import NUMBERS
from skilljobs.stats.predictivity import PREDICTIVITY
from skilljobs.store.files import Folder
from skilljobs.store.schema import parquet_bytes


def reduce_layer_over_prompts(job: ReduceJob, prompts: Sequence[str], layer: int) -> None:
    """Write the correlations of the layer at this place over all prompts, still without q.

    `prompts` are the URIs of their runs.
    """
    folders = [Folder(uri) for uri in prompts]
    moments = [read_moments(folder, sorted(job.halves[0] + job.halves[1])) for folder in folders]
    tables = []
    with ExitStack() as stack:
        readers = [
            pq.ParquetFile(stack.enter_context(folder.open(job.correlations_names[layer]))) for folder in folders
        ]
        for group, (metric, population) in enumerate(pairs(job.layout)):
            prompt_tables = [reader.read_row_group(group) for reader in readers]
            # prompts may have set different examples aside: the smallest number of examples makes no claim too strong
            freedom = min(m.degrees_of_freedom(job.layout, metric, population) for m in moments if m is not None)
            columns = mean_over_prompts([_numbers(table) for table in prompt_tables], freedom)
            if job.yes_no:
                columns |= mean_predictivity([floats(table[PREDICTIVITY]) for table in prompt_tables])
            n = min(table["n"][0].as_py() for table in prompt_tables)
            tables.append(correlation_table(columns, job.neurons[layer], job.tokens, metric, population, n, job.schema))
    Folder(job.uri).write(unranked_name(layer), parquet_bytes(tables, job.schema))


def _numbers(table: pa.Table) -> dict[str, NDArray[np.float64]]:
    return {name: floats(table[name]) for name in NUMBERS}
