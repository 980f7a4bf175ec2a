"""Examples as Parquet files, and back."""

from collections.abc import Sequence

import pyarrow as pa
from pyarrow import parquet as pq

from skilljobs.store.schema import EXAMPLE_FIXED, parquet_bytes
from skilljobs.tasks.base import Example
from skilljobs.tasks.metrics import metric_columns


def example_schema(examples: Sequence[Example]) -> pa.Schema:
    """The fixed columns, and one for each external column, of the narrowest type that holds all its values."""
    fields = [
        (column, _type_of([example.metrics.get(column) for example in examples]))
        for column in metric_columns(examples)
        if column not in EXAMPLE_FIXED.names
    ]
    return pa.schema([*EXAMPLE_FIXED, *fields])


def _type_of(values: Sequence[object]) -> pa.DataType:
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {bool}:
        return pa.bool_()
    if kinds <= {int}:
        return pa.int64()
    return pa.float64() if kinds <= {bool, int, float} else pa.string()


def example_bytes(examples: Sequence[Example], schema: pa.Schema) -> pa.Buffer:
    """One Parquet file of `examples`."""
    columns: dict[str, list[object]] = {
        name: [getattr(example, name) for example in examples] for name in EXAMPLE_FIXED.names
    }
    for name in schema.names[len(EXAMPLE_FIXED) :]:
        as_text = pa.types.is_string(schema.field(name).type)
        values = [example.metrics.get(name) for example in examples]
        columns[name] = [str(value) if as_text and value is not None else value for value in values]
    return parquet_bytes([pa.table(columns, schema=schema)], schema)


def examples_from(data: bytes) -> list[Example]:
    """The examples of a file that `example_bytes` made."""
    return examples_of(pq.read_table(pa.BufferReader(data)))


def examples_of(table: pa.Table) -> list[Example]:
    """The examples of a table that `example_bytes` wrote."""
    extra = table.column_names[len(EXAMPLE_FIXED) :]
    return [
        Example(
            example_id=row["example_id"],
            unit=row["unit"],
            split=row["split"],
            text=row["text"],
            choices=None if row["choices"] is None else tuple(row["choices"]),
            answer=row["answer"],
            target=row["target"],
            metrics={name: row[name] for name in extra},
        )
        for row in table.to_pylist()
    ]
