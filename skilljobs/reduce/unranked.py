"""Correlations on their way: what is known of a layer alone, and the p and q of a metric and population in all layers.

They are kept as uncompressed Arrow files below `unranked/`, a record batch for each part that is read by itself, until
the correlations are written. A crash may cost them: they are always made anew.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import ipc

from skilljobs.store.files import Folder

Array = NDArray[np.float64]
UNRANKED = "unranked"
SIGNIFICANCE = ("p", "q")


@dataclass(frozen=True)
class Part:
    """The columns of one metric and population in a layer, NaN for null, and what p depends on beside r."""

    columns: dict[str, Array]
    n: int
    degrees_of_freedom: int


def null_name(layer: int) -> str:
    """The file in which the largest |r| of a layer's null metrics within groups waits for those of other layers."""
    return f"{UNRANKED}/null-{layer:03d}.parquet"


def best_name(place: int) -> str:
    """The file in which the best tokens for the metric and population at `place` wait for those of the others."""
    return f"{UNRANKED}/best-{place:05d}.arrow"


def _layer_name(layer: int) -> str:
    return f"{UNRANKED}/layer-{layer:03d}.arrow"


def _significance_name(place: int) -> str:
    return f"{UNRANKED}/significance-{place:05d}.arrow"


def write_layer(folder: Folder, layer: int, columns: Sequence[str], parts: Iterator[tuple[int, Part]]) -> None:
    """Write the parts of a layer; each has its place among the metrics and populations, in any order."""
    with _writer(folder, _layer_name(layer), _floats(columns)) as writer:
        for place, part in parts:
            facts = {"place": str(place), "n": str(part.n), "degrees_of_freedom": str(part.degrees_of_freedom)}
            writer.write_batch(_batch(columns, part.columns), custom_metadata=facts)


class UnrankedLayer:
    """The file of a layer, opened. Only the given columns are read."""

    def __init__(self, file: pa.NativeFile, columns: Sequence[str] | None = None) -> None:
        names = ipc.open_file(file).schema.names
        included = [names.index(name) for name in columns or names]
        self._reader = ipc.open_file(file, options=ipc.IpcReadOptions(included_fields=included))
        self._batches: dict[int, int] | None = None

    def part(self, place: int) -> Part:
        """The part of the metric and population at `place`."""
        # parts are mostly in order, and where they are not, every batch says which it is
        if self._batches is None and place < self._reader.num_record_batches:
            batch, facts = self._read(place)
            if int(facts[b"place"]) == place:
                return _part(batch, facts)
        if self._batches is None:
            found = (self._read(number)[1] for number in range(self._reader.num_record_batches))
            self._batches = {int(facts[b"place"]): number for number, facts in enumerate(found)}
        return _part(*self._read(self._batches[place]))

    def _read(self, number: int) -> tuple[pa.RecordBatch, Mapping[bytes, bytes]]:
        batch, facts = self._reader.get_batch_with_custom_metadata(number)
        return batch, facts


@contextmanager
def open_layer(folder: Folder, layer: int, columns: Sequence[str] | None = None) -> Iterator[UnrankedLayer]:
    """Open what is kept of the layer at this place; all columns are read unless some are given."""
    with folder.open(_layer_name(layer)) as file:
        yield UnrankedLayer(file, columns)


def write_significance(folder: Folder, place: int, layers: Sequence[tuple[Array, Array]]) -> None:
    """Write p and q for the metric and population at `place`, layer by layer."""
    with _writer(folder, _significance_name(place), _floats(SIGNIFICANCE)) as writer:
        for values in layers:
            writer.write_batch(_batch(SIGNIFICANCE, dict(zip(SIGNIFICANCE, values, strict=True))))


def read_significance(folder: Folder, place: int, layer: int) -> tuple[Array, Array]:
    """Return p and q for the metric and population at `place` in a layer."""
    with folder.open(_significance_name(place)) as file:
        batch = ipc.open_file(file).get_batch(layer)
        p, q = (batch[name].to_numpy() for name in SIGNIFICANCE)
    return p, q


def write_table(folder: Folder, name: str, table: pa.Table) -> None:
    """Write a table with its chunks as they are."""
    with _writer(folder, name, table.schema) as writer:
        writer.write_table(table)


def read_table(folder: Folder, name: str) -> pa.Table:
    """Return a table that `write_table` wrote."""
    with folder.open(name) as file:
        return ipc.open_file(file).read_all()


def _floats(columns: Sequence[str]) -> pa.Schema:
    return pa.schema([(column, pa.float64()) for column in columns])


@contextmanager
def _writer(folder: Folder, name: str, schema: pa.Schema) -> Iterator[ipc.RecordBatchFileWriter]:
    with folder.stream(name, survives_crash=False) as stream, ipc.new_file(stream, schema) as writer:
        yield writer


def _batch(names: Sequence[str], columns: Mapping[str, Array]) -> pa.RecordBatch:
    return pa.record_batch([pa.array(columns[name]) for name in names], names=list(names))


def _part(batch: pa.RecordBatch, facts: Mapping[bytes, bytes]) -> Part:
    columns = {name: batch[name].to_numpy() for name in batch.schema.names}
    return Part(columns, int(facts[b"n"]), int(facts[b"degrees_of_freedom"]))
