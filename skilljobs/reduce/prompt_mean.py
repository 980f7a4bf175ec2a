"""From the correlations of several prompts' runs to those of the run that holds them."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack

from pyarrow import parquet as pq

from skilljobs.reduce.correlation_table import floats
from skilljobs.reduce.layers import ReduceJob, pairs
from skilljobs.reduce.shard_sums import read_moments
from skilljobs.reduce.unranked import Part, write_layer
from skilljobs.stats.aggregate import mean_predictivity, mean_strengths
from skilljobs.stats.correlate import STRENGTHS
from skilljobs.stats.predictivity import PREDICTIVITY
from skilljobs.store.files import Folder


def reduce_layer_over_prompts(job: ReduceJob, prompts: Sequence[str], layer: int) -> None:
    """Write what the layer at this place tells over all prompts: all but p and q.

    `prompts` are the URIs of their runs.
    """
    write_layer(Folder(job.uri), layer, job.strengths, _parts(job, prompts, layer))


def _parts(job: ReduceJob, prompts: Sequence[str], layer: int) -> Iterator[tuple[int, Part]]:
    folders = [Folder(uri) for uri in prompts]
    moments = [read_moments(folder, sorted(job.halves[0] + job.halves[1])) for folder in folders]
    with ExitStack() as stack:
        readers = [
            pq.ParquetFile(stack.enter_context(folder.open(job.correlations_names[layer]))) for folder in folders
        ]
        for place, (metric, population) in enumerate(pairs(job.layout)):
            tables = [reader.read_row_group(place) for reader in readers]
            # prompts may have set different examples aside: the smallest number of examples makes no claim too strong
            freedom = min(m.degrees_of_freedom(job.layout, metric, population) for m in moments if m is not None)
            columns = mean_strengths([{name: floats(table[name]) for name in STRENGTHS} for table in tables])
            if job.yes_no:
                columns |= mean_predictivity([floats(table[PREDICTIVITY]) for table in tables])
            yield place, Part(columns, min(table["n"][0].as_py() for table in tables), freedom)
