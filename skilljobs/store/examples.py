"""Writes examples to Parquet files and reads them back."""

from collections.abc import Mapping, Sequence

import pyarrow as pa
from pyarrow import parquet as pq

from skilljobs.store.schema import EXAMPLE_FIXED, parquet_bytes
from skilljobs.tasks.base import Example, MetricValue
from skilljobs.tasks.external_metrics import ExternalColumn, external_columns

_COLUMN, _KEY = b"column", b"key"
"""Keys of the metadata of a field that is one entry of a column with several named values."""


def example_schema(examples: Sequence[Example]) -> pa.Schema:
    """Return the fixed columns and one column for each external column, of the narrowest type that holds its values."""
    fields = []
    for source in external_columns(examples):
        if source.name in EXAMPLE_FIXED.names:
            continue
        metadata = None if source.key is None else {_COLUMN: source.column.encode(), _KEY: source.key.encode()}
        fields.append(
            pa.field(source.name, _type_of([source.value(example) for example in examples]), metadata=metadata)
        )
    return pa.schema([*EXAMPLE_FIXED, *fields])


def _type_of(values: Sequence[object]) -> pa.DataType:
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {bool}:
        return pa.bool_()
    if kinds <= {int}:
        return pa.int64()
    return pa.float64() if kinds <= {bool, int, float} else pa.string()


def example_bytes(examples: Sequence[Example], schema: pa.Schema, about: Mapping[str, str] | None = None) -> pa.Buffer:
    """Return a Parquet file of `examples` with the columns of `schema`; `about` as for `parquet_bytes`."""
    columns: dict[str, list[object]] = {
        name: [getattr(example, name) for example in examples] for name in EXAMPLE_FIXED.names
    }
    for field in _external_fields(schema):
        source = _source(field)
        values = [source.value(example) for example in examples]
        if pa.types.is_string(field.type):
            values = [None if value is None else str(value) for value in values]
        columns[field.name] = list(values)
    return parquet_bytes([pa.table(columns, schema=schema)], schema, about=about)


def examples_from(data: bytes) -> list[Example]:
    """Return the examples of a file that `example_bytes` wrote."""
    return examples_of(pq.read_table(pa.BufferReader(data)))


def examples_of(table: pa.Table) -> list[Example]:
    """Return the examples of a table in the schema of `example_schema`."""
    fields = _external_fields(table.schema)
    return [
        Example(
            example_id=row["example_id"],
            unit=row["unit"],
            split=row["split"],
            text=row["text"],
            choices=None if row["choices"] is None else tuple(row["choices"]),
            answer=row["answer"],
            target=row["target"],
            metrics=_metrics(row, fields),
        )
        for row in table.to_pylist()
    ]


def _external_fields(schema: pa.Schema) -> list[pa.Field]:
    return [schema.field(index) for index in range(len(EXAMPLE_FIXED), len(schema))]


def _source(field: pa.Field) -> ExternalColumn:
    metadata = field.metadata or {}
    if _KEY in metadata:
        return ExternalColumn(metadata[_COLUMN].decode(), metadata[_KEY].decode())
    return ExternalColumn(field.name)


def _metrics(
    row: Mapping[str, MetricValue], fields: Sequence[pa.Field]
) -> dict[str, MetricValue | Mapping[str, MetricValue]]:
    metrics: dict[str, MetricValue | Mapping[str, MetricValue]] = {}
    for field in fields:
        source = _source(field)
        if source.key is None:
            metrics[source.column] = row[field.name]
        else:
            entries = metrics.setdefault(source.column, {})
            assert isinstance(entries, dict)
            entries[source.key] = row[field.name]
    return metrics
