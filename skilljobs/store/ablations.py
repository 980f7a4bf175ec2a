"""The directory of one ablation in its run: its record, its sets of neurons, and the scores of each shard.

`ablations/ID/` holds them, and `ablations/ID/ablation.json` says what they must be. A shard is committed once its file
is there, whole, and was made of the examples and sets that are there now.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa
from pyarrow import parquet as pq
from pydantic import BaseModel, ConfigDict, TypeAdapter

from skilljobs.stats.answers import AnswerScores
from skilljobs.stats.neurons import NeuronName
from skilljobs.store.files import Folder
from skilljobs.store.follow_up_schema import ABLATED_SCORES, ABLATION_SETS
from skilljobs.store.job_files import read_job_record
from skilljobs.store.record import FileDigest
from skilljobs.store.schema import parquet_bytes
from skilljobs.store.shards import UNREADABLE, sha256

ABLATIONS = "ablations"
ABLATION_FORMAT = 1
SETS_NAME, EFFECTS_NAME, ABLATION_RECORD = "sets.parquet", "effects.parquet", "ablation.json"
_RECEIPT = "skilljobs.ablation"


@dataclass(frozen=True)
class NeuronSet:
    """Neurons that are silenced together. `draw` is None unless it is random, `metric` where they are listed."""

    metric: str | None
    population: str
    kind: str
    """`none`, `top`, `random` or `listed`."""
    k: int
    draw: int | None
    neurons: tuple[NeuronName, ...]


class AblationRecord(BaseModel):
    """The whole of `ablation.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = ABLATION_FORMAT
    ablation: str
    """Its ID."""
    created: str
    """ISO 8601, UTC."""
    spec: dict[str, Any]
    """What was asked for, see `AblationSpec`."""
    fingerprint: str
    """Of the run, of what was asked for, and of the files that the scores depend on."""
    files: dict[str, FileDigest]
    """Those that are written before and after the shards, by name."""
    shards: tuple[int, ...]
    """The shards of the run that are scored: those of half 1."""
    shared: dict[str, float]
    """By metric and size, the part of its neurons that a control shares with another one."""
    is_complete: bool = False
    seconds: float = 0.0
    difference_without_change: float | None = None
    """How far scores are from the run's with nothing silenced, relative to 1 + the log-probabilities, at most."""

    def to_bytes(self) -> bytes:
        """The text of `ablation.json`."""
        return (json.dumps(self.model_dump(mode="json"), indent=2) + "\n").encode()


@dataclass(frozen=True)
class AblationReceipt:
    """The facts about a committed shard of an ablation that its file contains."""

    shard: int
    fingerprint: str
    examples: str
    """SHA-256 of the file of the shard's examples."""
    rows: int
    rows_digest: str
    tokens: int
    seconds: float
    bit_exact: bool


_STORED_RECEIPT = TypeAdapter(AblationReceipt)


def ablation_folder(ablation: str) -> str:
    """The folder of an ablation in its run."""
    return f"{ABLATIONS}/{ablation}"


def ablated_name(inside: str, shard: int) -> str:
    """The scores of a shard, of the sets in the folder `inside` of the run."""
    return f"{inside}/shards/scores-{shard:05d}.parquet"


def ablation_ids(folder: Folder) -> list[str]:
    """The ablations of a run that have a record, sorted."""
    inside = folder.below(ABLATIONS)
    return [name for name in inside.folders() if inside.exists(f"{name}/{ABLATION_RECORD}")]


def read_ablation(folder: Folder, ablation: str) -> AblationRecord:
    """The record of an ablation.

    Raises:
        InputError: it cannot be read, or was written by another version.
    """
    return read_job_record(folder, f"{ablation_folder(ablation)}/{ABLATION_RECORD}", AblationRecord, ABLATION_FORMAT)


def sets_bytes(sets: Sequence[NeuronSet]) -> pa.Buffer:
    """The file of an ablation's sets, with a row for each neuron; a set of none has one row without a neuron."""
    rows = [
        {
            "number": number, "metric": chosen.metric, "population": chosen.population, "set": chosen.kind,
            "k": chosen.k, "draw": chosen.draw, "layer": name.layer if name else None,
            "expert": name.expert if name else None, "neuron": name.neuron if name else None,
        }
        for number, chosen in enumerate(sets)
        for name in chosen.neurons or (None,)
    ]  # fmt: skip
    return parquet_bytes([pa.Table.from_pylist(rows, ABLATION_SETS)], ABLATION_SETS)


def sets_from(data: bytes) -> list[NeuronSet]:
    """The sets of a file that `sets_bytes` wrote, in order."""
    sets: list[NeuronSet] = []
    neurons: list[list[NeuronName]] = []
    for row in pq.read_table(pa.BufferReader(data)).to_pylist():
        if row["number"] == len(sets):
            sets.append(NeuronSet(row["metric"], row["population"], row["set"], row["k"], row["draw"], ()))
            neurons.append([])
        if row["layer"] is not None:
            neurons[-1].append(NeuronName(row["layer"], row["expert"], row["neuron"]))
    return [
        NeuronSet(s.metric, s.population, s.kind, s.k, s.draw, tuple(names))
        for s, names in zip(sets, neurons, strict=True)
    ]


def ablated_file(
    ids: Sequence[str], scores: Iterable[Sequence[AnswerScores]], facts: dict[str, Any]
) -> tuple[pa.Buffer, AblationReceipt]:
    """The file of a shard and its receipt.

    `scores` has those of each set, in the order of `ids`; `facts` are the receipt's fields that are not about rows.
    """
    columns: dict[str, list[Any]] = {name: [] for name in ABLATED_SCORES.names}
    for number, of_set in enumerate(scores):
        columns["number"] += [number] * len(ids)
        columns["example_id"] += ids
        for name in ("correct", "chosen", "confidence", "margin", "target_logprob"):
            columns[name] += [getattr(score, name) for score in of_set]
    table = pa.table(columns, schema=ABLATED_SCORES)
    receipt = AblationReceipt(rows=table.num_rows, rows_digest=_digest(table), **facts)
    return parquet_bytes([table], ABLATED_SCORES, {_RECEIPT: json.dumps(asdict(receipt))}), receipt


def committed_ablated(
    folder: Folder, inside: str, fingerprint: str, shard: int, examples: str, is_complete: bool = False
) -> AblationReceipt | None:
    """The receipt of a shard that is committed under `fingerprint` in the folder `inside` of the run, or else None.

    `examples` is the SHA-256 of the file of its examples, and `is_complete` whether what it is part of is: an older
    version wrote fewer columns, which is enough then, and otherwise it is scored again.
    """
    try:
        with folder.open(ablated_name(inside, shard)) as file:
            table = pq.read_table(file)
        receipt = _STORED_RECEIPT.validate_json((table.schema.metadata or {})[_RECEIPT.encode()], strict=True)
    except (*UNREADABLE, KeyError):
        return None
    if (receipt.shard, receipt.fingerprint, receipt.examples) != (shard, fingerprint, examples):
        return None
    if not is_complete and table.schema.names != ABLATED_SCORES.names:
        return None
    return receipt if receipt.rows == table.num_rows and receipt.rows_digest == _digest(table) else None


def read_ablated(folder: Folder, inside: str, shards: Sequence[int]) -> Iterator[pa.Table]:
    """The scores of each shard in the folder `inside` of the run."""
    for shard in shards:
        with folder.open(ablated_name(inside, shard)) as file:
            yield pq.read_table(file)


def _digest(table: pa.Table) -> str:
    sink = pa.BufferOutputStream()
    whole = table.replace_schema_metadata(None).combine_chunks()
    with pa.ipc.new_stream(sink, whole.schema) as writer:
        writer.write_table(whole)
    return sha256(sink.getvalue())
