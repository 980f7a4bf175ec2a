"""The directory of one search for shortcuts in its run: its record, traced activations, silenced sets, and its rows.

`shortcuts/ID/` holds them, and `shortcuts/ID/shortcuts.json` says what they must be.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet as pq
from pydantic import BaseModel, ConfigDict

from skilljobs.errors import InputError
from skilljobs.store.ablations import ablated_name, committed_ablated
from skilljobs.store.files import Folder
from skilljobs.store.follow_up_schema import SHORTCUTS
from skilljobs.store.integrity import damaged_names
from skilljobs.store.job_files import damaged_with_tables, read_job_record, write_index
from skilljobs.store.record import FileDigest
from skilljobs.store.run import RECORD, SHORTCUTS_NAME, RunFiles
from skilljobs.store.schema import ACTIVATIONS, parquet_bytes, parquet_stream, with_all_columns
from skilljobs.store.shards import UNREADABLE, examples_name, sha256
from skilljobs.store.traces import TracedNeuron

FOLDER = "shortcuts"
SHORTCUTS_FORMAT = 1
RECORD_NAME, ROWS_NAME = "shortcuts.json", "rows.parquet"
INDEX_NAME = f"{FOLDER}/index.json"
"""What identifies the table at the root."""
_FINGERPRINT, _VALUES = b"skilljobs.shortcuts", b"skilljobs.values"
Array = NDArray[np.float64]


class SilencedStep(BaseModel):
    """Shards that were scored with sets of neurons silenced: under which fingerprint, and in which run.

    `within` is the folder of that run in the one that is searched, empty for this one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    fingerprint: str
    shards: tuple[int, ...]
    within: str = ""


class ShortcutsRecord(BaseModel):
    """The whole of `shortcuts.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = SHORTCUTS_FORMAT
    shortcuts: str
    """Its ID."""
    created: str
    """ISO 8601, UTC."""
    spec: dict[str, Any]
    """What was asked for, see `ShortcutsSpec`."""
    fingerprint: str
    """Of the run and of what was asked for."""
    files: dict[str, FileDigest] = {}
    """Those that it depends on or has written, by name."""
    silenced: dict[str, SilencedStep] = {}
    """By the folder of its sets and shards."""
    always: tuple[str, ...] = ()
    """Properties that hold for nearly every example of the run, so that nothing can follow them there."""
    is_complete: bool = False
    seconds: float = 0.0

    def to_bytes(self) -> bytes:
        """The text of `shortcuts.json`."""
        return (json.dumps(self.model_dump(mode="json"), indent=2) + "\n").encode()


def shortcuts_folder(shortcuts: str) -> str:
    """The folder of a search in its run."""
    return f"{FOLDER}/{shortcuts}"


def matched_folder(shortcuts: str) -> str:
    """The folder of the run in which a search reads matched examples."""
    return f"{shortcuts_folder(shortcuts)}/matched"


def shortcut_ids(folder: Folder) -> list[str]:
    """The searches of a run that have a record, sorted."""
    inside = folder.below(FOLDER)
    return [name for name in inside.folders() if inside.exists(f"{name}/{RECORD_NAME}")]


def read_shortcuts(folder: Folder, shortcuts: str) -> ShortcutsRecord:
    """The record of a search.

    Raises:
        InputError: it cannot be read, or was written by another version.
    """
    return read_job_record(folder, f"{shortcuts_folder(shortcuts)}/{RECORD_NAME}", ShortcutsRecord, SHORTCUTS_FORMAT)


def traced_name(shortcuts: str, shard: int) -> str:
    """The activations of the neurons in question over a shard."""
    return f"{shortcuts_folder(shortcuts)}/traced/activations-{shard:05d}.parquet"


def traced_bytes(ids: Sequence[str], neurons: Sequence[TracedNeuron], values: Array, fingerprint: str) -> pa.Buffer:
    """The file of traced activations of a shard; `values` is examples x neurons."""
    count = len(ids)
    table = pa.table(
        {
            "example_id": list(ids) * len(neurons),
            "layer": np.repeat([neuron.name.layer for neuron in neurons], count),
            "expert": pa.array([neuron.name.expert for neuron in neurons for _ in ids], pa.int16()),
            "neuron": np.repeat([neuron.name.neuron for neuron in neurons], count),
            "token": pa.array([neuron.token for neuron in neurons for _ in ids], pa.int16()),
            "activation": values.T.ravel(),
        }
    ).select(ACTIVATIONS.names)
    facts = {_FINGERPRINT: fingerprint, _VALUES: _digest(ids, values).decode()}
    return parquet_bytes([table], ACTIVATIONS, {key.decode(): value for key, value in facts.items()})


def _digest(ids: Sequence[str], values: Array) -> bytes:
    return sha256("\n".join(ids).encode() + np.ascontiguousarray(values).tobytes()).encode()


def read_traced(folder: Folder, name: str, fingerprint: str, neurons: int) -> tuple[list[str], Array] | None:
    """The ids and activations (examples x neurons) of a shard; None if the file is not there, damaged or another's."""
    try:
        with folder.open(name) as file:
            table = pq.read_table(file)
    except UNREADABLE:
        return None
    facts = table.schema.metadata or {}
    if facts.get(_FINGERPRINT) != fingerprint.encode() or table.num_rows % neurons:
        return None
    values = np.ascontiguousarray(table["activation"].to_numpy().reshape(neurons, -1).T)
    ids = table["example_id"].to_pylist()[: len(values)]
    return (ids, values) if facts.get(_VALUES) == _digest(ids, values) else None


def complete_shortcuts(run: RunFiles) -> Iterator[tuple[RunFiles, ShortcutsRecord]]:
    """The searches of a run that are complete for all of its prompts, by prompt and then oldest first.

    Raises:
        InputError: the record of one cannot be read.
    """
    found = [
        (files, {shortcuts: read_shortcuts(files.folder, shortcuts) for shortcuts in shortcut_ids(files.folder)})
        for files in run.prompt_runs or [run]
    ]
    complete = [{name for name, record in records.items() if record.is_complete} for _, records in found]
    everywhere = set.intersection(*complete)
    for files, records in found:
        for record in sorted(records.values(), key=lambda record: (record.created, record.shortcuts)):
            if record.shortcuts in everywhere:
                yield files, record


def count_of_shortcut_files(run: RunFiles) -> int:
    """How many files `damaged_shortcuts` reads."""
    records = [record for _, record in complete_shortcuts(run)]
    of_each = (1 + len(record.files) + sum(len(step.shards) for step in record.silenced.values()) for record in records)
    return 2 * run.folder.exists(INDEX_NAME) + sum(of_each)


def write_shortcuts_table(run: RunFiles) -> None:
    """Write `shortcuts.parquet` at the root anew, of all complete searches."""
    found = list(complete_shortcuts(run))
    with parquet_stream(run.folder, [SHORTCUTS_NAME], SHORTCUTS) as [rows]:
        for files, record in found:
            with files.folder.open(f"{shortcuts_folder(record.shortcuts)}/{ROWS_NAME}") as file:
                rows.write_table(with_all_columns(pq.read_table(file), SHORTCUTS))
    write_index(run.folder, INDEX_NAME, [SHORTCUTS_NAME])


def damaged_of_search(run: RunFiles, record: ShortcutsRecord, thorough: bool) -> list[str]:
    """The damaged or missing files of one search; its shards count if it is complete, and are read in any case."""
    damaged = damaged_names(run.folder, record.files, thorough)
    for inside, step in record.silenced.items() if record.is_complete else ():
        if step.within and not RunFiles(f"{run.uri}/{step.within}").exists:
            damaged.append(f"{step.within}/{RECORD}")
            continue
        scored = RunFiles(f"{run.uri}/{step.within}") if step.within else run
        prepared = scored.record.stages["prepare"].files
        for shard in step.shards:
            examples = prepared[examples_name(shard)].sha256
            if committed_ablated(run.folder, inside, step.fingerprint, shard, examples) is None:
                damaged.append(ablated_name(inside, shard))
    return damaged


def damaged_shortcuts(run: RunFiles) -> list[str]:
    """The damaged or missing files of all searches of a run and of its prompts, and of the table at the root."""
    return damaged_with_tables(run, INDEX_NAME, _own_damage)


def _own_damage(run: RunFiles) -> list[str]:
    damaged = []
    for shortcuts in shortcut_ids(run.folder):
        try:
            damaged += damaged_of_search(run, read_shortcuts(run.folder, shortcuts), thorough=True)
        except InputError:
            damaged.append(f"{shortcuts_folder(shortcuts)}/{RECORD_NAME}")
    return damaged
