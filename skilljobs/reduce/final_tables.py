"""The tables of a run's correlations, written once p and q are known."""

from collections.abc import Sequence

import pyarrow as pa
from pyarrow import parquet as pq

from skilljobs.reduce.layers import ReduceJob, pairs
from skilljobs.reduce.null_maxima import largest_of_layers
from skilljobs.reduce.significance import RankedPair, table_of
from skilljobs.reduce.unranked import UNRANKED, best_name, null_name, open_layer, read_significance, read_table
from skilljobs.store.files import Folder
from skilljobs.store.run import BEST_NAME, NULL_MAXIMA_NAME, TOP_NAME
from skilljobs.store.schema import BEST, NULL_MAXIMA, parquet_stream, write_parquet


def write_correlations(job: ReduceJob, layer: int) -> None:
    """Write the correlations of the layer at this place."""
    folder = Folder(job.uri)
    with (
        open_layer(folder, layer) as unranked,
        parquet_stream(folder, [job.correlations_names[layer]], job.schema) as (writer,),
    ):
        for place, (metric, _) in enumerate(pairs(job.layout)):
            if not job.keeps(metric):
                continue
            table = table_of(job, place, layer, unranked.part(place), *read_significance(folder, place, layer))
            writer.write_table(table, row_group_size=max(1, table.num_rows))


def write_rankings(job: ReduceJob, ranked: Sequence[RankedPair]) -> None:
    """Write `top.parquet` and `null_maxima.parquet`, with tokens kept also `best.parquet`.

    `ranked` has every metric and population, in any order. What they come from stays, so that this can be repeated.

    Raises:
        FileNotFoundError: some layers have null maxima within groups, and others have none.
    """
    folder, ranked = Folder(job.uri), sorted(ranked, key=lambda pair: pair.place)
    assert [pair.place for pair in ranked] == list(range(len(pairs(job.layout))))
    kept = [pair for pair, (metric, _) in zip(ranked, pairs(job.layout), strict=True) if job.keeps(metric)]
    write_parquet(folder, TOP_NAME, [pair.top for pair in kept], job.schema)
    maxima = [pair.null_maxima for pair in ranked if pair.null_maxima is not None]
    names = [null_name(layer) for layer in range(job.layers)]
    if any(map(folder.exists, names)):
        maxima += [pq.read_table(pa.BufferReader(folder.read(name))) for name in names]
    write_parquet(folder, NULL_MAXIMA_NAME, [largest_of_layers(maxima)], NULL_MAXIMA)
    if job.tokens is not None:
        _write_best(folder, [pair.place for pair in kept])


def delete_unranked(job: ReduceJob) -> None:
    """Delete what the tables were made of."""
    Folder(job.uri).delete_folder(UNRANKED)


def _write_best(folder: Folder, places: Sequence[int]) -> None:
    schema = BEST.with_metadata({})  # as `parquet_bytes` writes it
    with parquet_stream(folder, [BEST_NAME], schema) as (writer,):
        for name in map(best_name, places):
            table = read_table(folder, name).cast(schema)
            writer.write_table(table, row_group_size=max(1, table.num_rows))
