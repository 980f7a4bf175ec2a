"""The columns of every file of a run, and the options for writing Parquet."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

import pyarrow as pa
from pyarrow import parquet as pq

from skilljobs.stats.answers import EXACT, MODEL_METRICS
from skilljobs.stats.correlate import NUMBERS
from skilljobs.stats.layout import Layout
from skilljobs.stats.predictivity import PREDICTIVITY
from skilljobs.store.files import Folder
from skilljobs.store.provenance import provenance_of, with_units

LAYER, TOKEN = ("layer", pa.int16()), ("token", pa.int16())
NEURON = [("expert", pa.int16()), ("neuron", pa.int32())]
_KEY = [LAYER, TOKEN, *NEURON]
NEURON_KEY = [name for name, _ in _KEY]
"""The columns that say which neuron a row is about, in the order of rows of equal rank."""

TUNING = pa.schema([("step", pa.int32()), ("split", pa.string()), ("loss", pa.float64()), ("accuracy", pa.float64())])
REFERENCE = pa.schema([*_KEY, ("reference", pa.float64())])
THRESHOLDS = pa.schema([*_KEY, ("threshold", pa.float64())])
METRICS = pa.schema(
    [
        ("metric", pa.string()),
        ("kind", pa.string()),
        ("nullable", pa.bool_()),
        ("column", pa.string()),
        ("level", pa.string()),
        ("reference", pa.float64()),
        ("units", pa.string()),
    ]
)
MOMENTS = pa.schema(
    [
        ("population", pa.string()),
        ("metric_a", pa.string()),
        ("metric_b", pa.string()),
        ("n", pa.int64()),
        ("sum_a", pa.float64()),
        ("sum_b", pa.float64()),
        ("sum_ab", pa.float64()),
        ("sum_aa", pa.float64()),
        ("sum_bb", pa.float64()),
    ]
)
_SCORE_TYPES: dict[str, pa.DataType] = {
    "correct": pa.bool_(),
    "correct_mean": pa.bool_(),
    EXACT: pa.bool_(),
    "text_tokens": pa.int32(),
}
CORRELATIONS = pa.schema(
    [
        *_KEY,
        ("metric", pa.string()),
        ("population", pa.string()),
        ("n", pa.int64()),
        *((name, pa.float64()) for name in NUMBERS),
    ]
)
CORRELATIONS_PREDICTIVITY = pa.schema([*CORRELATIONS, (PREDICTIVITY, pa.float64()), ("predictivity_token", pa.int16())])
"""With `--statistic predictivity`."""
ACTIVATIONS = pa.schema(
    [
        ("example_id", pa.string()),
        LAYER,
        *NEURON,
        TOKEN,
        ("activation", pa.float64()),
    ]
)
VOCABULARY = pa.schema(
    [
        LAYER,
        *NEURON,
        ("token", pa.string()),
        ("logit", pa.float64()),
    ]
)
NULL_MAXIMA = pa.schema(
    [
        ("metric", pa.string()),
        ("population", pa.string()),
        ("n", pa.int64()),
        *((name, pa.float64()) for name in ("r", "r_half0", "r_half1")),
    ]
)
"""The largest |r| of each null metric in the model."""
BEST = pa.schema([CORRELATIONS.field(name) for name in (*dict(_KEY), "metric", "population", "n", "r", "p", "q")])
_TEXT = pa.string()
EXAMPLE_FIXED = pa.schema(
    [
        ("example_id", pa.string()),
        ("split", pa.string()),
        ("unit", pa.string()),
        ("half", pa.int8()),
        ("text", pa.string()),
        ("choices", pa.list_(pa.string())),
        ("answer", pa.int32()),
        ("target", pa.string()),
    ]
)


def scores_schema(choice_probabilities: Iterable[str], has_exact: bool = False) -> pa.Schema:
    """Return the columns of `shards/scores-*.parquet`.

    `choice_probabilities` are the names of the task's own model-derived metrics. `has_exact`: whether the model's own
    answers were asked for.
    """
    names = (*MODEL_METRICS, *((EXACT,) if has_exact else ()), *choice_probabilities)
    return pa.schema(
        [
            ("example_id", pa.string()),
            ("half", pa.int8()),
            *((name, _SCORE_TYPES.get(name, pa.float64())) for name in names),
        ]
    )


def sums_schema(layout: Layout) -> pa.Schema:
    """Return the columns of `shards/sums-*.parquet`, which depend on the metrics of the run."""
    names = [metric.name for metric in layout.metrics]
    nullable = [names[index] for index in layout.nullable]
    values = [
        "sum_a",
        "sum_aa",
        *(f"sum_ay:{name}" for name in names),
        *(f"{kind}:{name}" for name in nullable for kind in ("sum_a", "sum_aa")),
    ]
    return pa.schema(
        [("population", pa.string()), *_KEY, ("n", pa.int64()), *((name, pa.float64()) for name in values)]
    )


def effect_sums_schema(draws: int) -> pa.Schema:
    """Return the columns of `effects/OUTCOME/shards/sums-*.parquet`, with the sums of `draws` draws of random signs."""
    sums = ("sum", "sum_square", "sum_abs", *(f"sum:null:{draw}" for draw in range(draws)))
    return pa.schema([("group", _TEXT), LAYER, *NEURON, ("n", pa.int64()), *((name, pa.float64()) for name in sums)])


def write_options(schema: pa.Schema) -> dict[str, object]:
    """Return the options of a Parquet writer for `schema`.

    Floating-point columns are byte-stream-split and then compressed with LZ4, which gives half the size of plain
    float64 at twice the speed of zstd. Integer columns are delta-packed. Text columns, whose values repeat, are
    dictionary-encoded.
    """
    text = [field.name for field in schema if pa.types.is_string(field.type)]
    split = {field.name: "BYTE_STREAM_SPLIT" for field in schema if pa.types.is_floating(field.type)}
    packed = {field.name: "DELTA_BINARY_PACKED" for field in schema if pa.types.is_integer(field.type)}
    lists = any(pa.types.is_nested(field.type) for field in schema)
    return {
        "compression": "lz4",
        "use_dictionary": True if lists else text,
        "column_encoding": None if lists else split | packed,
    }


def parquet_bytes(
    tables: Iterable[pa.Table],
    schema: pa.Schema,
    metadata: Mapping[str, str] | None = None,
    about: Mapping[str, str] | None = None,
) -> pa.Buffer:
    """Return a Parquet file with one row group per table.

    `metadata` is what skilljobs reads again, and `about` says where the file comes from (`store/provenance.py`).
    """
    schema = schema.with_metadata({key.encode(): value.encode() for key, value in (metadata or {}).items()})
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, schema, **write_options(schema)) as writer:
        for table in tables:
            writer.write_table(table.cast(schema), row_group_size=max(1, table.num_rows))
        _describe(writer, about or {})
    return sink.getvalue()


def with_all_columns(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """`table` as `schema` wants it; columns that it lacks, since it was written before there were such, are null."""
    missing = [field for field in schema if field.name not in table.column_names]
    for field in missing:
        table = table.append_column(field, pa.nulls(table.num_rows, field.type))
    return table.select(schema.names).cast(schema)


def write_parquet(folder: Folder, name: str, tables: Iterable[pa.Table], schema: pa.Schema) -> None:
    """Write a file with one row group per table, which says that it is of the run in `folder`."""
    folder.write(name, parquet_bytes(tables, schema, about=provenance_of(folder)))


@contextmanager
def parquet_stream(folder: Folder, names: Sequence[str], schema: pa.Schema) -> Iterator[list[pq.ParquetWriter]]:
    """Open writers of several files at once, for more data than fits in memory.

    All files appear when the block ends, and none if it raises an exception. They say that they are of the run in
    `folder`.
    """
    about = provenance_of(folder)
    with ExitStack() as stack:
        streams = [stack.enter_context(folder.stream(name)) for name in names]
        writers = [stack.enter_context(pq.ParquetWriter(stream, schema, **write_options(schema))) for stream in streams]
        yield writers
        for writer in writers:
            _describe(writer, about)


def _describe(writer: pq.ParquetWriter, about: Mapping[str, str]) -> None:
    """Have a file say what `about` says: in its footer alone, as metadata of the schema would be stored twice."""
    if about:
        writer.add_key_value_metadata(with_units(about, writer.schema.names))
