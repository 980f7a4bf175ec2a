"""The tables of all ablations of a run, at its root, and whether any of their files is damaged."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from pyarrow import parquet as pq

from skilljobs.errors import InputError
from skilljobs.store.ablations import (
    ABLATIONS,
    EFFECTS_NAME,
    SETS_NAME,
    AblationRecord,
    ablated_name,
    ablation_folder,
    ablation_ids,
    committed_ablated,
    read_ablated,
    read_ablation,
    sets_from,
)
from skilljobs.store.files import Folder
from skilljobs.store.follow_up_schema import ABLATION, ABLATION_SCORES
from skilljobs.store.integrity import damaged_names
from skilljobs.store.job_files import damaged_with_tables, write_index
from skilljobs.store.run import ABLATION_NAME, ABLATION_SCORES_NAME, RunFiles
from skilljobs.store.schema import parquet_stream
from skilljobs.store.shards import examples_name

INDEX_NAME = f"{ABLATIONS}/index.json"
"""What identifies the tables at the root."""


def complete_ablations(run: RunFiles) -> Iterator[tuple[int | None, RunFiles, AblationRecord]]:
    """The complete ablations of a run, by prompt (None if it has one) and then oldest first.

    Raises:
        InputError: the record of one cannot be read.
    """
    prompts: list[tuple[int | None, RunFiles]] = [*enumerate(run.prompt_runs)] or [(None, run)]
    for prompt, files in prompts:
        records = [read_ablation(files.folder, ablation) for ablation in ablation_ids(files.folder)]
        for record in sorted(records, key=lambda record: (record.created, record.ablation)):
            if record.is_complete:
                yield prompt, files, record


def write_tables(run: RunFiles) -> None:
    """Write the tables at the root anew, of all complete ablations."""
    names = [ABLATION_NAME, ABLATION_SCORES_NAME]
    found = list(complete_ablations(run))
    with parquet_stream(run.folder, names[:1], ABLATION) as [effects]:
        for _, files, record in found:
            with files.folder.open(f"{ablation_folder(record.ablation)}/{EFFECTS_NAME}") as file:
                effects.write_table(pq.read_table(file).cast(ABLATION))
    with parquet_stream(run.folder, names[1:], ABLATION_SCORES) as [scores]:
        for prompt, files, record in found:
            for table in _score_tables(prompt, files.folder, record):
                scores.write_table(table)
    write_index(run.folder, INDEX_NAME, names)


def _score_tables(prompt: int | None, folder: Folder, record: AblationRecord) -> Iterator[pa.Table]:
    """The scores of an ablation with the names of their sets; those of no set once for each metric."""
    sets = sets_from(folder.read(f"{ablation_folder(record.ablation)}/{SETS_NAME}"))
    metrics = list(dict.fromkeys(chosen.metric for chosen in sets if chosen.kind != "none"))
    for table in read_ablated(folder, ablation_folder(record.ablation), record.shards):
        numbers = table["number"].to_numpy()
        for metric in metrics:
            mine = [n for n, chosen in enumerate(sets) if chosen.kind == "none" or chosen.metric == metric]
            rows = table.filter(pa.array(np.isin(numbers, mine)))
            chosen = [sets[number] for number in rows["number"].to_pylist()]
            columns = {
                "ablation": [record.ablation] * len(chosen),
                "prompt": [prompt] * len(chosen),
                "example_id": rows["example_id"],
                "metric": [metric] * len(chosen),
                "population": [one.population for one in chosen],
                "set": [one.kind for one in chosen],
                "k": [one.k for one in chosen],
                "draw": [one.draw for one in chosen],
                "how": [record.spec["how"]] * len(chosen),
                "at": [record.spec["at"]] * len(chosen),
                **{name: rows[name] for name in ("correct", "confidence", "margin", "target_logprob")},
            }
            yield pa.table(columns, schema=ABLATION_SCORES)


def is_intact(run: RunFiles, record: AblationRecord, thorough: bool) -> bool:
    """Whether a complete ablation has all of its files as they were written; errors as `damaged_of`."""
    return not damaged_of(run, record, thorough)


def damaged_of(run: RunFiles, record: AblationRecord, thorough: bool) -> list[str]:
    """The damaged or missing files of one ablation. Shards count if it is complete, and are read in any case."""
    damaged = damaged_names(run.folder, record.files, thorough)
    prepared, inside = run.record.stages["prepare"].files, ablation_folder(record.ablation)
    for shard in record.shards if record.is_complete else ():
        examples = prepared[examples_name(shard)].sha256
        if committed_ablated(run.folder, inside, record.fingerprint, shard, examples, record.is_complete) is None:
            damaged.append(ablated_name(inside, shard))
    return damaged


def damaged_ablations(run: RunFiles) -> list[str]:
    """The damaged or missing files of all ablations of a run and of its prompts, and of the tables at the root."""
    return damaged_with_tables(run, INDEX_NAME, _own_damage)


def count_of_files(run: RunFiles) -> int:
    """How many files `damaged_ablations` reads."""
    records = [record for _, _, record in complete_ablations(run)]
    tables = 3 if run.folder.exists(INDEX_NAME) else 0
    return tables + sum(1 + len(record.files) + len(record.shards) for record in records)


def _own_damage(run: RunFiles) -> list[str]:
    damaged = []
    for ablation in ablation_ids(run.folder):
        try:
            damaged += damaged_of(run, read_ablation(run.folder, ablation), thorough=True)
        except InputError:
            damaged.append(f"{ablation_folder(ablation)}/ablation.json")
    return damaged
