"""The files of a shard: its sums, its moments, and the scores file that commits them.

The scores file is written last and contains the names and checksums of the others. A shard is committed if and only if
its scores file exists and the other files match their checksums.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet as pq
from pydantic import TypeAdapter

from skilljobs.stats.answers import AnswerScores, metric_cells
from skilljobs.stats.layout import ALL, Layout
from skilljobs.stats.neurons import LayerNeurons
from skilljobs.stats.sums import ShardSums
from skilljobs.store.files import Folder
from skilljobs.store.neuron_columns import neuron_columns
from skilljobs.store.schema import MOMENTS, parquet_bytes, scores_schema, sums_schema

RECEIPT = "skilljobs.receipt"


@dataclass(frozen=True)
class Receipt:
    """The facts about a committed shard that its scores file contains."""

    shard: int
    half: int
    fingerprint: str
    examples: int
    choices: int
    """Number of examples that are multiple choice."""
    right: int
    """Number of multiple-choice examples that the model answered right."""
    tokens: int
    seconds: float
    """Time that the model spent computing, in seconds."""
    bit_exact: bool
    """False if a batch had to be split because memory did not suffice."""
    peak_memory_bytes: int
    files: dict[str, str]
    """SHA-256 of each of the shard's other files, by name."""
    bytes_written: int = 0
    """Size of the sums and moments files in bytes."""
    set_aside: dict[str, int | None] = field(default_factory=dict)
    """Examples that are in no sum and have no scores, because an activation (in the given layer) or the score (None) is
    not finite, by id."""
    scores_digest: str = ""
    """SHA-256 of the rows of the scores file, which holds the receipt itself."""


_STORED_RECEIPT = TypeAdapter(Receipt)
UNREADABLE = (OSError, pa.ArrowException, ValueError, TypeError, OverflowError)
"""What reading a damaged or foreign Parquet file, and writing its rows as JSON, raises."""


def sums_name(shard: int, attempt: int = 0, rank: int | None = None) -> str:
    """Return the name of the sums file of a shard, as an attempt at it writes it; with several ranks, each its own."""
    of_rank = "" if rank is None else f".r{rank}"
    return f"shards/sums-{shard:05d}{of_rank}{_suffix(attempt)}.parquet"


def moments_name(shard: int, attempt: int = 0) -> str:
    """Return the name of the moments file of a shard, as an attempt at it writes it."""
    return f"shards/moments-{shard:05d}{_suffix(attempt)}.parquet"


def above_name(shard: int, attempt: int = 0) -> str:
    """Return the name of the file of a shard that counts how often each neuron is above its threshold."""
    return f"shards/above-{shard:05d}{_suffix(attempt)}.parquet"


def _suffix(attempt: int) -> str:
    return f".a{attempt}" if attempt else ""


def scores_name(shard: int) -> str:
    """Return the name of the scores file of a shard."""
    return f"shards/scores-{shard:05d}.parquet"


def examples_name(shard: int) -> str:
    """Return the name of the file of examples of a shard."""
    return f"examples/part-{shard:05d}.parquet"


def sums_file(
    sums: ShardSums,
    layout: Layout,
    neurons: Sequence[LayerNeurons],
    tokens: int | None,
    places: Sequence[NDArray[np.int64]] | None = None,
    about: Mapping[str, str] | None = None,
) -> pa.Buffer:
    """Return the sums file, with a row group for each layer and rows ordered by population, then token, then neuron.

    `tokens` is None if the activations of all prompt positions are aggregated. `places` are those of the neurons of
    each layer that the sums are of; None for all. `about` is as for `parquet_bytes`.
    """
    schema = sums_schema(layout)
    return parquet_bytes(_layer_tables(sums, layout, neurons, tokens, schema, places), schema, about=about)


def _layer_tables(
    sums: ShardSums,
    layout: Layout,
    neurons: Sequence[LayerNeurons],
    tokens: int | None,
    schema: pa.Schema,
    places: Sequence[NDArray[np.int64]] | None,
) -> Iterator[pa.Table]:
    metrics = len(layout.metrics)
    parts: Sequence[NDArray[np.int64] | None] = places or [None] * len(neurons)
    for layer, part, linear, square in zip(neurons, parts, sums.linear, sums.square, strict=True):
        populations, _, width = linear.shape
        rows = populations * width
        columns: dict[str, pa.Array] = {
            "population": pa.DictionaryArray.from_arrays(
                np.repeat(np.arange(populations, dtype=np.int32), width), list(layout.populations)
            ).cast(pa.string()),
            **neuron_columns(layer, tokens, populations, part),
            "n": pa.array(np.repeat(sums.count, width)),
            "sum_a": pa.array(linear[:, 0].ravel()),
            "sum_aa": pa.array(square[:, 0].ravel()),
        }
        for index, metric in enumerate(layout.metrics):
            values = linear[:, 1 + index].ravel()
            absent = None
            if metric.kind == "null":
                absent = np.arange(rows) >= width  # null metrics are summed over the first population only
            columns[f"sum_ay:{metric.name}"] = pa.array(values, mask=absent)
        for order, index in enumerate(layout.nullable):
            name = layout.metrics[index].name
            columns[f"sum_a:{name}"] = pa.array(linear[:, 1 + metrics + order].ravel())
            columns[f"sum_aa:{name}"] = pa.array(square[:, 1 + order].ravel())
        yield pa.table(columns, schema=schema)


def moments_file(sums: ShardSums, layout: Layout, about: Mapping[str, str] | None = None) -> pa.Buffer:
    """Return the moments file, with a row for each population and unordered pair of metrics.

    A null metric is paired with itself and, over `all`, with the metrics that can be held fixed.
    """
    rows = []
    metrics = range(len(layout.metrics))
    nulls = [metric.kind == "null" for metric in layout.metrics]
    for number, population in enumerate(layout.populations):
        for a in metrics:
            for b in metrics[a:]:
                if a != b and (nulls[a] or nulls[b]) and (population != ALL or (nulls[a] and nulls[b])):
                    continue
                rows.append(
                    {
                        "population": population,
                        "metric_a": layout.metrics[a].name,
                        "metric_b": layout.metrics[b].name,
                        "n": int(sums.moment_count[number, a, b]),
                        "sum_a": float(sums.moment_sum[number, a, b]),
                        "sum_b": float(sums.moment_sum[number, b, a]),
                        "sum_ab": float(sums.moment_product[number, a, b]),
                        "sum_aa": float(sums.moment_square[number, a, b]),
                        "sum_bb": float(sums.moment_square[number, b, a]),
                    }
                )
    return parquet_bytes([pa.Table.from_pylist(rows, MOMENTS)], MOMENTS, about=about)


def scores_file(
    ids: Sequence[str],
    scores: Sequence[AnswerScores],
    choice_probabilities: Mapping[str, int],
    receipt: Receipt,
    has_exact: bool = False,
    about: Mapping[str, str] | None = None,
) -> pa.Buffer:
    """Return the scores file, with a row for each example and the receipt in its metadata.

    `choice_probabilities` are the task's own metrics: each is the probability of the choice at its index.
    `has_exact`: whether there is a column `exact`.
    """
    schema = scores_schema(choice_probabilities, has_exact)
    rows = [
        {"example_id": example_id, "half": receipt.half, **metric_cells(score, choice_probabilities)}
        for example_id, score in zip(ids, scores, strict=True)
    ]
    table = pa.Table.from_pylist(rows, schema)
    receipt = replace(receipt, scores_digest=_rows_digest(table))
    return parquet_bytes([table], schema, {RECEIPT: json.dumps(asdict(receipt))}, about)


def scores_digest(data: bytes | pa.Buffer) -> str:
    """Return the digest of the rows of a scores file."""
    return _rows_digest(pq.read_table(pa.BufferReader(data)))


def _rows_digest(table: pa.Table) -> str:
    return sha256(json.dumps(table.to_pylist()).encode())


def sha256(data: bytes | pa.Buffer) -> str:
    """Return the SHA-256 of `data` in hexadecimal digits."""
    return hashlib.sha256(memoryview(data)).hexdigest()


def read_receipt(folder: Folder, shard: int) -> Receipt | None:
    """Return the receipt in the shard's scores file, or None if there is no readable receipt."""
    try:
        with folder.open(scores_name(shard)) as file:
            return _receipt_in(pq.read_schema(file))
    except UNREADABLE:
        return None


def _receipt_in(schema: pa.Schema) -> Receipt | None:
    try:
        return _STORED_RECEIPT.validate_json((schema.metadata or {})[RECEIPT.encode()], strict=True)
    except (KeyError, ValueError):
        return None


def committed_receipt(folder: Folder, shard: int, fingerprint: str, without: tuple[str, ...] = ()) -> Receipt | None:
    """Return the receipt of a shard that was committed under `fingerprint`, or else None.

    The rows of the scores file, and all other files of the shard, must match it. `without` are the beginnings of the
    names of files that were deleted on purpose.
    """
    try:
        with folder.open(scores_name(shard)) as file:
            table = pq.read_table(file)
        rows_digest = _rows_digest(table)
    except UNREADABLE:
        return None
    receipt = _receipt_in(table.schema)
    if receipt is None or receipt.fingerprint != fingerprint or receipt.shard != shard:
        return None
    if receipt.scores_digest != rows_digest:
        return None
    for name, digest in receipt.files.items():
        if without and name.startswith(without):
            continue
        if not folder.exists(name) or sha256(folder.read(name)) != digest:
            return None
    return receipt
