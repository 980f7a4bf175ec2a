"""Which of the examples that were read a job uses, and their final order."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from skilljobs.plan.example_views import ExampleView
from skilljobs.plan.partition import Partition, PartView
from skilljobs.plan.row_reader import RowReader, RowView
from skilljobs.plan.row_sets import RowSet
from skilljobs.plan.sharding import sample, shard_examples, tuning_sample
from skilljobs.spec import JobSpec
from skilljobs.spill.buckets import in_places
from skilljobs.spill.spilled_column import SpilledColumn
from skilljobs.spill.temporary_file import TemporaryFile
from skilljobs.tasks.example_chunks import Chunk
from skilljobs.tasks.external_columns import ExternalColumn


@dataclass(frozen=True)
class DrawnExamples:
    """The examples that a job uses."""

    examples: Partition
    train: PartView
    validation: PartView
    shards: list[PartView]
    test: ExampleView
    """The examples of all shards. Their external columns are in the order in which the sampled rows have them."""
    tested_rows: RowView
    """The same examples, in the order of the rows."""
    units_repeat: bool
    open_ended: int
    """How many test examples have no choices."""
    _ranks: SpilledColumn[np.int32] | None
    """The place of each row in the sample of tested rows, or a negative number; None if the sample is in row order."""

    def put_in_sampled_order(self, values: dict[str, SpilledColumn[np.float64]]) -> None:
        """Put values of the tested rows into the order of the sampled rows, in which sums of them are rounded."""
        if self._ranks is not None:
            file = TemporaryFile()
            for name, of_rows in values.items():
                ranked = _with_ranks(of_rows, self._ranks)
                values[name] = in_places(ranked, len(of_rows), np.float64, np.nan, file)


def _with_ranks(
    of_rows: SpilledColumn[np.float64], ranks: SpilledColumn[np.int32]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """The values of the rows that have a rank, with it."""
    first = 0
    for _, block in ranks.blocks():
        places = block[block >= 0].astype(np.int64)
        yield places, of_rows[first : first + len(places)]
        first += len(places)


class _SampledView(PartView):
    """The test examples, whose external columns come in the order in which the sampled rows have them."""

    def __init__(self, partition: Partition, start: int, stop: int, columns: list[ExternalColumn]) -> None:
        super().__init__(partition, start, stop)
        self._columns = columns

    def external_columns(self) -> list[ExternalColumn]:
        return self._columns


def draw_examples(spec: JobSpec, reader: RowReader, group: str | None, shard_size: int | None = None) -> DrawnExamples:
    """Draw a sample if `--limit` asks for it, and cut the test examples into shards.

    `group`: the column of the task, not of `--by`, so that `--by` does not change which rows are drawn. `shard_size`:
    that of a shard, unless `spec` gives it.
    """
    every_row = len(reader.kept)
    rows = reader.rows_of("test")
    columns = RowView(reader, rows).external_columns()
    stratum = next((source for source in columns if source.name == group), None)
    sampled = sample(reader, rows, spec.limit, stratum, spec.seed)
    train, validation = tuning_sample(reader, len(sampled) / len(rows), stratum, spec.seed)
    ranks = None if sampled.rows is rows else in_places(sampled.located(), every_row, np.int32, -1)
    tested = rows if ranks is None else RowSet.where(ranks)
    sharding = shard_examples(reader, tested, spec.shard_size or shard_size, spec.seed)
    sizes = [len(train), len(validation), *sharding.order.sizes]
    first_test, total = len(train) + len(validation), sum(sizes)
    located = chain(train.located(), validation.located(len(train)), sharding.located(first_test))
    place_of_row = in_places(located, every_row, np.int32, -1)
    used: list[int] = []

    def placed() -> Iterator[tuple[Chunk, NDArray[np.int32]]]:
        for _, start, chunk in reader.located_chunks():
            places = place_of_row[start : start + len(chunk)]
            used.append(int(np.count_nonzero(~chunk.has_choices & (places >= first_test))))
            yield chunk, places

    partition = Partition(placed(), total, reader.example_bytes, reader.shapes.only)
    parts = partition.views(sizes)
    return DrawnExamples(
        examples=partition,
        train=parts[0],
        validation=parts[1],
        shards=parts[2:],
        test=_SampledView(partition, first_test, total, reader.shapes.columns(tested, ranks)),
        tested_rows=RowView(reader, tested),
        units_repeat=reader.units_repeat(tested),
        open_ended=sum(used),
        _ranks=ranks,
    )
