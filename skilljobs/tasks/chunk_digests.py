"""What a digest of examples is made of, column by column."""

import json
from collections.abc import Iterator
from json.encoder import encode_basestring_ascii

import pyarrow as pa

from skilljobs.tasks.base import SPLITS
from skilljobs.tasks.example_chunks import Chunk

_encode = json.JSONEncoder(sort_keys=True).encode


def digest_text(chunk: Chunk) -> str:
    """What a digest of the examples is made of: each as JSON, joined by the separator of `digest_of_many`."""
    places = chunk.metric_fields
    if places is None:
        lines: Iterator[str] = (
            _encode([e.example_id, e.unit, e.split, e.text, e.choices, e.answer, e.target, e.metrics])
            for e in chunk.examples
        )
        return "\x1f".join(lines)
    metrics = sorted(places.items())
    keys = ", ".join(f"{encode_basestring_ascii(name).replace('%', '%%')}: %s" for name, _ in metrics)
    line = f'[%s, %s, "%s", %s, %s, %s, %s, {{{keys}}}]'
    ids, units = chunk.strings("example_id"), chunk.strings("unit")
    names = list(map(encode_basestring_ascii, ids))
    columns = [
        names,
        names if units == ids else list(map(encode_basestring_ascii, units)),
        [SPLITS[code] for code in chunk.splits.tolist()],
        list(map(encode_basestring_ascii, chunk.strings("text"))),
        ["null" if of is None else f"[{', '.join(map(encode_basestring_ascii, of))}]" for of in chunk.choices],
        *(_as_json(chunk.table.column(name)) for name in ("answer", "target")),
        *(_as_json(chunk.table.column(place)) for _, place in metrics),
    ]
    return "\x1f".join(map(line.__mod__, zip(*columns, strict=True)))


def _as_json(column: pa.ChunkedArray) -> list[str]:
    """The values of a column of one of `_TYPES` as JSON has them."""
    values = column.to_pylist()
    if pa.types.is_boolean(column.type):
        names = {True: "true", False: "false", None: "null"}
        return [names[value] for value in values]
    if pa.types.is_null(column.type):
        return ["null"] * len(values)
    encode = encode_basestring_ascii if pa.types.is_string(column.type) else repr
    if column.null_count:
        return ["null" if value is None else encode(value) for value in values]
    return list(map(encode, values))
