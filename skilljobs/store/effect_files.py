"""The directory of the estimated effects on one outcome in a run: its record, and the sums of each shard.

`effects/OUTCOME/` holds them, and `effects/OUTCOME/record.json` says what they must be. A shard is committed once its
file is there, whole, and was made of the examples and means that are there now. Every attempt at it has the same bytes.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet as pq
from pydantic import BaseModel, ConfigDict, TypeAdapter

from skilljobs.stats.effect_sums import EffectSums
from skilljobs.stats.neurons import LayerNeurons
from skilljobs.store.files import Folder
from skilljobs.store.job_files import read_job_record
from skilljobs.store.neuron_columns import neuron_columns
from skilljobs.store.record import FileDigest
from skilljobs.store.schema import effect_sums_schema, parquet_bytes
from skilljobs.store.shards import UNREADABLE

EFFECTS_FOLDER = "effects"
EFFECTS_FORMAT = 1
_RECEIPT = "skilljobs.effects"


class EffectsRecord(BaseModel):
    """The whole of `record.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = EFFECTS_FORMAT
    outcome: str
    created: str
    """ISO 8601, UTC."""
    fingerprint: str
    """Of the run, of the outcome, and of the means."""
    groups: tuple[str, ...]
    """Those of the sums; the first is all examples."""
    draws: int
    """Of random signs, over half 1."""
    halves: tuple[tuple[int, ...], tuple[int, ...]]
    """The shards of half 0 and of half 1."""
    files: dict[str, FileDigest]
    """Those that are written before and after the shards, by name."""
    set_aside: dict[str, int] = {}
    """The examples whose effects are not finite, which are in no sum, and their shards."""
    bit_exact: bool = True
    """Whether memory held every batch whole: parts of one may differ in the last bits."""
    is_complete: bool = False
    seconds: float = 0.0
    difference: float | None = None
    """How far the outcomes are from the run's, relative to 1 + their size, at most."""

    @property
    def shards(self) -> tuple[int, ...]:
        """All of them, ascending."""
        return tuple(sorted(self.halves[0] + self.halves[1]))

    def to_bytes(self) -> bytes:
        """The text of `record.json`."""
        return (json.dumps(self.model_dump(mode="json"), indent=2) + "\n").encode()


@dataclass(frozen=True)
class EffectsReceipt:
    """The facts about a committed shard that its file contains: the same for every attempt at it."""

    shard: int
    fingerprint: str
    examples: str
    """SHA-256 of the file of the shard's examples."""
    values: str
    """What identifies the sums."""
    draws: int
    difference: float
    """As in `EffectsRecord`."""
    set_aside: tuple[str, ...]
    bit_exact: bool


_STORED_RECEIPT = TypeAdapter(EffectsReceipt)


def effects_folder(outcome: str) -> str:
    """The folder of the effects on an outcome in its run."""
    return f"{EFFECTS_FOLDER}/{outcome}"


def effects_record_name(outcome: str) -> str:
    """Their record."""
    return f"{effects_folder(outcome)}/record.json"


def effect_sums_name(outcome: str, shard: int) -> str:
    """The sums of a shard."""
    return f"{effects_folder(outcome)}/shards/sums-{shard:05d}.parquet"


def outcomes_estimated(folder: Folder) -> list[str]:
    """The outcomes that there are records of effects on, sorted."""
    return [name for name in folder.below(EFFECTS_FOLDER).folders() if folder.exists(effects_record_name(name))]


def read_effects_record(folder: Folder, outcome: str) -> EffectsRecord:
    """The record of the effects on an outcome.

    Raises:
        InputError: it cannot be read, or was written by another version.
    """
    return read_job_record(folder, effects_record_name(outcome), EffectsRecord, EFFECTS_FORMAT)


def effect_sums_file(
    sums: Sequence[EffectSums], neurons: Sequence[LayerNeurons], groups: Sequence[str], facts: dict[str, Any]
) -> tuple[pa.Buffer, EffectsReceipt]:
    """The file of a shard, with a row group for each layer, and its receipt.

    `sums` has those of each layer, over `groups`; `facts` are the receipt's fields that are not about sums.
    """
    draws = len(sums[0].signed)
    schema = effect_sums_schema(draws)
    digest = sha256()

    def tables() -> Iterator[pa.Table]:
        for layer, of_layer in zip(neurons, sums, strict=True):
            columns = neuron_columns(layer, None, len(groups))
            del columns["token"]
            columns["group"] = pa.array(np.repeat(np.array(groups, object), layer.count), pa.string())
            columns["n"] = pa.array(np.repeat(of_layer.count, layer.count))
            for name, values in zip(("sum", "sum_square", "sum_abs"), _by_group(of_layer), strict=True):
                columns[name] = pa.array(values.ravel())
            others = pa.nulls(layer.count * (len(groups) - 1), pa.float64())
            for draw, signed in enumerate(of_layer.signed):
                columns[f"sum:null:{draw}"] = pa.chunked_array([pa.array(signed), others])
            yield pa.table(columns, schema=schema)

    for of_layer in sums:
        _update(digest, of_layer)
    receipt = EffectsReceipt(values=digest.hexdigest(), draws=draws, **facts)
    return parquet_bytes(tables(), schema, {_RECEIPT: json.dumps(asdict(receipt))}), receipt


def committed_effects(folder: Folder, record: EffectsRecord, shard: int, examples: str) -> EffectsReceipt | None:
    """The receipt of a committed shard, or else None. `examples` is the SHA-256 of the file of its examples.

    All of its sums are read, a layer at a time.
    """
    digest = sha256()
    try:
        with folder.open(effect_sums_name(record.outcome, shard)) as opened:
            file = pq.ParquetFile(opened)
            receipt = _STORED_RECEIPT.validate_json((file.schema_arrow.metadata or {})[_RECEIPT.encode()])
            if (receipt.shard, receipt.fingerprint, receipt.examples) != (shard, record.fingerprint, examples):
                return None
            for layer in range(file.num_row_groups):
                _update(digest, _sums(file, layer, len(record.groups), receipt.draws))
    except (*UNREADABLE, KeyError):
        return None
    return receipt if receipt.values == digest.hexdigest() else None


def read_effect_sums(
    folder: Folder, outcome: str, shards: Sequence[int], layer: int, groups: int, draws: int
) -> EffectSums | None:
    """The sums of one layer over shards of one half, added in the order given; None if there are no shards.

    `layer` is its place among those that are read.
    """
    total = None
    for shard in shards:
        with folder.open(effect_sums_name(outcome, shard)) as opened:
            part = _sums(pq.ParquetFile(opened), layer, groups, draws)
        total = part if total is None else total + part
    return total


def _sums(file: pq.ParquetFile, layer: int, groups: int, draws: int) -> EffectSums:
    """One layer's sums of one shard."""
    signed = [f"sum:null:{draw}" for draw in range(draws)]
    table = file.read_row_group(layer, columns=["n", "sum", "sum_square", "sum_abs", *signed])
    total, square, absolute = (table[name].to_numpy().reshape(groups, -1) for name in ("sum", "sum_square", "sum_abs"))
    neurons = total.shape[1]
    drawn = [table[name].slice(0, neurons).to_numpy() for name in signed]
    return EffectSums(
        table["n"].to_numpy().reshape(groups, -1)[:, 0].copy(),
        total,
        square,
        absolute,
        np.array(drawn, np.float64).reshape(draws, neurons),
    )


def _by_group(sums: EffectSums) -> tuple[Any, Any, Any]:
    return sums.total, sums.square, sums.absolute


def _update(digest: Any, sums: EffectSums) -> None:
    for values in (sums.count, *_by_group(sums), sums.signed):
        digest.update(np.ascontiguousarray(values).tobytes())
