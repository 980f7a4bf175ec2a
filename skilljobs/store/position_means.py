"""The mean activations at each position of the soft prompt, in texts and in answers, over the examples of half 0.

They depend on the run alone, so that all of its ablations share one file. While they are measured, each shard has a
file of sums; the whole is their sum in the order of the shards.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet as pq

from skilljobs.stats.neurons import LayerNeurons
from skilljobs.store.ablations import ABLATIONS
from skilljobs.store.files import Folder
from skilljobs.store.follow_up_schema import POSITION_MEANS
from skilljobs.store.neuron_columns import neuron_columns
from skilljobs.store.schema import parquet_bytes
from skilljobs.store.shards import UNREADABLE, sha256

MEANS_NAME = f"{ABLATIONS}/means.parquet"
_RUN, _EXAMPLES, _VALUES = b"skilljobs.run", b"skilljobs.examples", b"skilljobs.values"
Array = NDArray[np.float64]


@dataclass(frozen=True)
class StoredSums:
    """Sums of activations: an array for each layer, kinds of position x neurons, and the positions of each kind."""

    layers: list[Array]
    counts: NDArray[np.int64]

    def __add__(self, other: "StoredSums") -> "StoredSums":
        layers = [one + two for one, two in zip(self.layers, other.layers, strict=True)]
        return StoredSums(layers, self.counts + other.counts)

    @property
    def digest(self) -> str:
        """What identifies the values."""
        return sha256(b"".join([self.counts.tobytes(), *(layer.tobytes() for layer in self.layers)]))

    @property
    def means(self) -> list[Array]:
        """The means, an array for each layer, kinds x neurons; 0 where there are no positions of a kind."""
        return [layer / np.maximum(self.counts, 1)[:, None] for layer in self.layers]


def part_name(shard: int) -> str:
    """The sums of one shard, while the means are measured."""
    return f"{ABLATIONS}/means-{shard:05d}.parquet"


def sums_bytes(sums: StoredSums, neurons: Sequence[LayerNeurons], run: str, examples: str) -> pa.Buffer:
    """The file of sums, with a row group for each layer. `run` is the run's fingerprint, `examples` what it is of."""

    def tables() -> Iterator[pa.Table]:
        kinds = len(sums.counts)
        places = ["prompt"] * (kinds - 2) + ["text", "answer"]
        for layer, values in zip(neurons, sums.layers, strict=True):
            columns = neuron_columns(layer, kinds)
            token = columns["token"].to_numpy()
            columns["token"] = pa.array(token, mask=token >= kinds - 2)
            yield pa.table(
                {
                    **columns,
                    "place": np.repeat(places, layer.count),
                    "n": np.repeat(sums.counts, layer.count),
                    "sum_a": values.ravel(),
                },
                schema=POSITION_MEANS,
            )

    facts = {_RUN: run, _EXAMPLES: examples, _VALUES: sums.digest}
    return parquet_bytes(tables(), POSITION_MEANS, {key.decode(): value for key, value in facts.items()})


def read_sums(folder: Folder, name: str, run: str, examples: str) -> StoredSums | None:
    """The sums in a file, or None if it is not there, is damaged, or is of another run or of other examples."""
    try:
        layers = []
        counts = np.zeros(0, np.int64)
        with folder.open(name) as opened:
            file = pq.ParquetFile(opened)
            metadata = file.schema_arrow.metadata or {}
            if (metadata.get(_RUN), metadata.get(_EXAMPLES)) != (run.encode(), examples.encode()):
                return None
            for group in range(file.num_row_groups):
                table = file.read_row_group(group, columns=["n", "sum_a", "token", "place"])
                kinds = 1 + max(token or 0 for token in table["token"].unique().to_pylist()) + 2
                values = table["sum_a"].to_numpy().reshape(kinds, -1)
                layers.append(np.array(values, np.float64))
                counts = table["n"].to_numpy().reshape(kinds, -1)[:, 0].copy()
    except UNREADABLE:
        return None
    sums = StoredSums(layers, counts)
    return sums if metadata.get(_VALUES) == sums.digest.encode() else None
