"""Some thousands of examples as columns, which take a tenth of the memory and time that they take one by one.

A chunk holds the same values as its examples, to the type of every number: where all examples have the same metrics, of
one type each, these are columns; otherwise they are kept as JSON.
"""

import json
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import compute

from skilljobs.hashing import stable_digests
from skilljobs.tasks.base import ANSWER, SPLITS, Example, MetricValue
from skilljobs.tasks.external_columns import STORED, ExternalColumn, ListBlock
from skilljobs.tasks.external_kinds import KindsSeen

SPLIT_CODES = {split: code for code, split in enumerate(SPLITS)}
_FIXED = {
    "number": pa.int64(),
    "example_id": pa.string(),
    "unit": pa.string(),
    "split": pa.int8(),
    "text": pa.string(),
    "choices": pa.list_(pa.string()),
    "answer": pa.int64(),
    "target": pa.string(),
}
_JSON = "metrics"
_COLUMN = b"column"
"""The key of the metadata of a field that is a metric's column: names of metrics may be those of other fields."""
_TYPES = {bool: pa.bool_(), int: pa.int64(), float: pa.float64(), str: pa.string(), type(None): pa.null()}
_PYTHON_TYPES = {kind: of for of, kind in _TYPES.items()}


class Chunk:
    """Examples as a table, each with the `number` of its row in the source."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table
        self._values: dict[ExternalColumn, Sequence[MetricValue]] = {}

    @classmethod
    def of(cls, examples: Sequence[Example], numbers: Sequence[int]) -> "Chunk":
        """The chunk of `examples`, which are rows `numbers` of their source."""
        columns: dict[str, Any] = {
            "number": numbers,
            "example_id": [e.example_id for e in examples],
            "unit": [e.unit for e in examples],
            "split": [SPLIT_CODES[e.split] for e in examples],
            "text": [e.text for e in examples],
            "choices": [e.choices for e in examples],
            "answer": [e.answer for e in examples],
            "target": [e.target for e in examples],
        }
        fixed = {name: pa.array(values, _FIXED[name]) for name, values in columns.items()}
        metrics = _uniform(examples)
        if metrics is None:
            return cls(pa.table({**fixed, _JSON: pa.array([json.dumps(dict(e.metrics)) for e in examples])}))
        return cls.of_columns(fixed, metrics)

    @classmethod
    def of_columns(cls, fixed: dict[str, pa.Array], metrics: dict[str, pa.Array]) -> "Chunk":
        """The chunk with these columns; `split` as in `SPLIT_CODES`, and each metric a column of one type."""
        fields = [pa.field(name, kind) for name, kind in _FIXED.items()]
        fields += [
            pa.field(f"metric {place}", values.type, metadata={_COLUMN: name.encode()})
            for place, (name, values) in enumerate(metrics.items())
        ]
        return cls(pa.table([*(fixed[name] for name in _FIXED), *metrics.values()], schema=pa.schema(fields)))

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def strings(self, name: str) -> list[str]:
        """The values of `example_id`, `unit` or `text`, or those of `target`, which may be None."""
        return cast("list[str]", self.table.column(name).to_pylist())

    @property
    def numbers(self) -> list[int]:
        """The numbers of the rows in their source."""
        return cast("list[int]", self.table.column("number").to_pylist())

    @property
    def splits(self) -> NDArray[np.int8]:
        """The split of each, as in `SPLIT_CODES`."""
        return np.asarray(self.table.column("split").to_numpy())

    @property
    def choices(self) -> list[list[str] | None]:
        """The choices of each."""
        return cast("list[list[str] | None]", self.table.column("choices").to_pylist())

    @cached_property
    def id_hashes(self) -> NDArray[np.uint64]:
        """A 64-bit hash of the id of each; the same array as `unit_hashes` if each is its own unit."""
        if self.table.column("unit").equals(self.table.column("example_id")):
            return self.unit_hashes
        return hashes(self.ids(), "split")

    @cached_property
    def unit_hashes(self) -> NDArray[np.uint64]:
        """The stable hash of each unit that decides its split."""
        return self._hashes_of_units("split")

    @property
    def halves(self) -> NDArray[np.int8]:
        """The half of each."""
        return (self._hashes_of_units("half") < 1 << 63).astype(np.int8)

    def _hashes_of_units(self, label: str) -> NDArray[np.uint64]:
        units = self.strings("unit")
        different = list(dict.fromkeys(units))
        found = hashes(different, label)
        if len(different) == len(units):
            return found
        places = dict(zip(different, range(len(different)), strict=True))
        return found[[places[unit] for unit in units]]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Characters of each text and of its longest continuation."""
        columns = self.table.select(["text", "choices", "target"]).combine_chunks()
        text, target = (compute.utf8_length(columns[name]).fill_null(0).to_numpy() for name in ("text", "target"))
        continuation = np.array(target, np.int64)
        chosen = columns["choices"].filter(columns["choices"].is_valid()).combine_chunks()
        if len(chosen):
            of_each = compute.utf8_length(chosen.flatten()).to_numpy().astype(np.int64)
            starts = np.cumsum(np.r_[0, compute.list_value_length(chosen).to_numpy()])[:-1]
            continuation[self.has_choices] = np.maximum.reduceat(of_each, starts)
        return np.asarray(text + continuation)

    @property
    def has_choices(self) -> NDArray[np.bool_]:
        """Whether each has choices."""
        return np.asarray(self.table.column("choices").is_valid().to_numpy())

    @cached_property
    def metric_fields(self) -> dict[str, int] | None:
        """The place of each metric's column; None if the metrics are kept as JSON."""
        schema = self.table.schema
        if schema.field(-1).name == _JSON:
            return None
        return {schema.field(i).metadata[_COLUMN].decode(): i for i in range(len(_FIXED), len(schema))}

    @cached_property
    def examples(self) -> list[Example]:
        """The examples one by one."""
        fixed = [self.table.column(name).to_pylist() for name in _FIXED]
        places = self.metric_fields
        if places is None:
            metrics: Iterator[dict[str, MetricValue]] = map(json.loads, self.table.column(_JSON).to_pylist())
        else:
            values = [self.table.column(place).to_pylist() for place in places.values()]
            rows = zip(*values, strict=True) if values else iter([()] * len(self))
            metrics = (dict(zip(places, row, strict=True)) for row in rows)
        return [
            Example(
                example_id, unit, SPLITS[split], text, None if chosen is None else tuple(chosen), answer, target, of
            )
            for (_, example_id, unit, split, text, chosen, answer, target), of in zip(
                zip(*fixed, strict=True), metrics, strict=True
            )
        ]

    def ids(self) -> list[str]:
        """The ids of the examples."""
        return self.strings("example_id")

    def values(self, source: ExternalColumn) -> Sequence[MetricValue]:
        """The value of each example in an external column; None where it has none."""
        if source not in self._values:
            self._values[source] = self._read_values(source)
        return self._values[source]

    def _read_values(self, source: ExternalColumn) -> Sequence[MetricValue]:
        places = self.metric_fields
        if places is None or source.column in (ANSWER, "choices"):
            return ListBlock(self.examples).values(source)
        if source.key is not None or source.column not in places:
            return [None] * len(self)
        return cast("list[MetricValue]", self.table.column(places[source.column]).to_pylist())

    def fixed_columns(self) -> dict[str, Any]:
        """What is stored of the examples beside their external columns."""
        split = pa.DictionaryArray.from_arrays(self.splits, list(SPLITS)).cast(pa.string())
        columns = {name: self.table.column(name) for name in STORED if name in _FIXED}
        return columns | {"split": split, "half": self.halves, "answer": columns["answer"].cast(pa.int32())}

    @cached_property
    def shapes(self) -> list[tuple[ExternalColumn, ...]]:
        """The external columns that each example has, in their order; one for all if all have the same."""
        places = self.metric_fields
        if places is not None:
            return [tuple(ExternalColumn(name) for name in places)]
        return [tuple(ListBlock([example]).columns()) for example in self.examples]

    def columns(self) -> list[ExternalColumn]:
        """The external columns of the chunk, in the order of their first appearance."""
        return list(dict.fromkeys(source for shape in self.shapes for source in shape))

    def kinds(self) -> KindsSeen:
        """Which kinds of values its external columns hold."""
        places = self.metric_fields
        if places is None:
            return KindsSeen.of(self.examples)
        types = {name: self.table.schema.field(place).type for name, place in places.items()}
        return KindsSeen.of_types({name: _PYTHON_TYPES[kind] for name, kind in types.items()})

    def with_splits(self, codes: NDArray[np.int8]) -> "Chunk":
        """The chunk with other splits."""
        changed = Chunk(self.table.set_column(list(_FIXED).index("split"), "split", pa.array(codes)))
        changed.unit_hashes = self.unit_hashes
        return changed

    def with_texts(self, texts: Sequence[str]) -> "Chunk":
        """The chunk with other texts."""
        return Chunk(self.table.set_column(list(_FIXED).index("text"), "text", pa.array(texts, pa.string())))

    def without(self, columns: set[str]) -> "Chunk":
        """The chunk without some metrics."""
        places = self.metric_fields
        if places is not None:
            kept = [i for i in range(len(self.table.schema)) if i not in {places.get(name) for name in columns}]
            return Chunk(self.table.select(kept))
        metrics = [{name: of for name, of in e.metrics.items() if name not in columns} for e in self.examples]
        return Chunk(self.table.set_column(len(_FIXED), _JSON, pa.array(map(json.dumps, metrics), pa.string())))

    def take(self, places: NDArray[np.int64]) -> "Chunk":
        """The examples at `places`, in that order."""
        return Chunk(self.table.take(places))

    def slice(self, start: int, stop: int) -> "Chunk":
        """The examples from `start` to before `stop`."""
        return Chunk(self.table.slice(start, stop - start))


def hashes(texts: Sequence[str], *parts: object) -> NDArray[np.uint64]:
    """The stable hash of `parts` and each text behind them."""
    return np.frombuffer(stable_digests(texts, *parts), ">u8").astype(np.uint64)


def _uniform(examples: Sequence[Example]) -> dict[str, pa.Array] | None:
    """A column for each metric, if all examples have the same ones in the same order, each of one type."""
    names = list(examples[0].metrics)
    if any(list(example.metrics) != names for example in examples):
        return None
    columns = {}
    for name in names:
        values = [example.metrics[name] for example in examples]
        kinds = set(map(type, values))
        usual = kinds - {type(None)} or {type(None)}
        if len(usual) > 1 or not usual <= _TYPES.keys():
            return None
        columns[name] = pa.array(values, _TYPES[usual.pop()])
    return columns
