"""Writes examples to Parquet files and reads them back."""

from collections.abc import Iterable, Mapping, Sequence

import pyarrow as pa
from pyarrow import parquet as pq

from skilljobs.store.files import Folder
from skilljobs.store.schema import EXAMPLE_FIXED, parquet_bytes, parquet_stream
from skilljobs.tasks.base import Example, MetricValue
from skilljobs.tasks.external_columns import Block, ExternalColumn, blocks_of, external_columns

ROW_GROUP = 1 << 18
"""Rows that a file has in one row group. Only examples to tune on are ever more."""
_COLUMN, _KEY = b"column", b"key"
"""Keys of the metadata of a field that is one entry of a column with several named values."""


def example_schema(examples: Iterable[Example]) -> pa.Schema:
    """Return the fixed columns and one column for each external column, of the narrowest type that holds its values."""
    kinds: dict[ExternalColumn, set[type]] = {
        source: set() for source in external_columns(examples) if source.name not in EXAMPLE_FIXED.names
    }
    for block in blocks_of(examples) if kinds else ():
        for source, found in kinds.items():
            found.update(map(type, block.values(source)))
    fields = []
    for source, found in kinds.items():
        metadata = None if source.key is None else {_COLUMN: source.column.encode(), _KEY: source.key.encode()}
        fields.append(pa.field(source.name, _type_of(found - {type(None)}), metadata=metadata))
    return pa.schema([*EXAMPLE_FIXED, *fields])


def _type_of(kinds: set[type]) -> pa.DataType:
    if kinds <= {bool}:
        return pa.bool_()
    if kinds <= {int}:
        return pa.int64()
    return pa.float64() if kinds <= {bool, int, float} else pa.string()


def example_bytes(examples: Iterable[Example], schema: pa.Schema, about: Mapping[str, str] | None = None) -> pa.Buffer:
    """Return a Parquet file of `examples` with the columns of `schema`; `about` as for `parquet_bytes`."""
    tables = [_table_of(block, schema) for block in blocks_of(examples)] or [schema.empty_table()]
    return parquet_bytes([pa.concat_tables(tables).combine_chunks()], schema, about=about)


def write_examples_file(
    folder: Folder, name: str, examples: Sequence[Example], schema: pa.Schema, about: Mapping[str, str]
) -> None:
    """Write a file as `example_bytes` returns it, or in row groups of about `ROW_GROUP`, one of which is held."""
    if len(examples) <= ROW_GROUP:
        folder.write(name, example_bytes(examples, schema, about))
        return
    with parquet_stream(folder, [name], schema) as (writer,):
        waiting: list[pa.Table] = []
        for block in blocks_of(examples):
            waiting.append(_table_of(block, schema))
            if sum(table.num_rows for table in waiting) >= ROW_GROUP:
                writer.write_table(pa.concat_tables(waiting), row_group_size=2 * ROW_GROUP)
                waiting = []
        if waiting:
            writer.write_table(pa.concat_tables(waiting), row_group_size=2 * ROW_GROUP)


def _table_of(block: Block, schema: pa.Schema) -> pa.Table:
    columns = dict(block.fixed_columns())
    for field in _external_fields(schema):
        values = block.values(_source(field))
        if pa.types.is_string(field.type):
            values = [None if value is None else str(value) for value in values]
        elif pa.types.is_floating(field.type):
            values = [None if value is None else float(value) for value in values]  # Arrow takes no int beyond 2**53
        columns[field.name] = values
    return pa.table(columns, schema=schema)


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
