"""Which of the examples that were read a job uses, and their final order."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skilljobs.plan.example_views import ExampleView
from skilljobs.plan.partition import Partition, PartView
from skilljobs.plan.row_reader import RowReader, RowView
from skilljobs.plan.sharding import sample, shard_examples, tuning_sample
from skilljobs.spec import JobSpec
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
    units_repeat: bool
    open_ended: int
    """How many test examples have no choices."""
    _places: NDArray[np.int32]
    """Where in `test` each of the sampled rows is, in their order."""

    def put_in_row_order(self, values: dict[str, NDArray[np.float64]]) -> None:
        """Put values of the test examples into the order of the sampled rows, in which sums of them are rounded."""
        for name, of_all in values.items():
            values[name] = of_all[self._places]


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
    rows = reader.rows_of("test")
    columns = RowView(reader, rows).external_columns()
    stratum = next((source for source in columns if source.name == group), None)
    tested = sample(reader, rows, spec.limit, stratum, spec.seed)
    tuned = tuning_sample(reader, len(tested) / len(rows), stratum, spec.seed)
    shards = shard_examples(reader, tested, spec.shard_size or shard_size, spec.seed)
    order = np.concatenate([*tuned, *shards])
    place_of_row = np.full(len(reader.kept), -1, np.int32)
    place_of_row[order] = np.arange(len(order), dtype=np.int32)
    used: list[int] = []

    def located() -> Iterator[tuple[Chunk, NDArray[np.int32]]]:
        for _, start, chunk in reader.located_chunks():
            places = place_of_row[start : start + len(chunk)]
            used.append(int(np.count_nonzero(~chunk.has_choices & (places >= first_test))))
            yield chunk, places

    first_test = sum(map(len, tuned))
    partition = Partition(located(), len(order), reader.example_bytes, reader.shapes.take(order))
    parts = partition.views([len(rows) for rows in (*tuned, *shards)])
    return DrawnExamples(
        examples=partition,
        train=parts[0],
        validation=parts[1],
        shards=parts[2:],
        test=_SampledView(partition, first_test, len(order), reader.shapes.columns(tested)),
        units_repeat=reader.units_repeat(tested),
        open_ended=sum(used),
        _places=place_of_row[tested] - np.int32(first_test),
    )
