"""The tables of all estimated effects of a run, at its root, and whether any of their files is damaged."""

from collections.abc import Iterator

from pyarrow import parquet as pq

from skilljobs.errors import InputError
from skilljobs.store.effect_files import (
    EFFECTS_FOLDER,
    EffectsRecord,
    committed_effects,
    effect_sums_name,
    effects_folder,
    effects_record_name,
    outcomes_estimated,
    read_effects_record,
)
from skilljobs.store.follow_up_schema import EFFECTS, EFFECTS_NULL
from skilljobs.store.integrity import damaged_names
from skilljobs.store.job_files import damaged_with_tables, write_index
from skilljobs.store.run import EFFECTS_NAME, EFFECTS_NULL_NAME, RunFiles
from skilljobs.store.schema import parquet_stream
from skilljobs.store.shards import examples_name

EFFECTS_INDEX_NAME = f"{EFFECTS_FOLDER}/index.json"
"""What identifies the tables at the root."""


def complete_effects(run: RunFiles) -> Iterator[tuple[RunFiles, EffectsRecord]]:
    """The complete effects of a run, by outcome and then by prompt.

    Raises:
        InputError: the record of one cannot be read.
    """
    found = [
        (files, read_effects_record(files.folder, outcome))
        for files in (run.prompt_runs or [run])
        for outcome in outcomes_estimated(files.folder)
    ]
    for files, record in sorted(found, key=lambda item: item[1].outcome):
        if record.is_complete:
            yield files, record


def write_effect_tables(run: RunFiles) -> None:
    """Write the tables at the root anew, of the effects on all outcomes, a layer at a time."""
    found = list(complete_effects(run))
    for name, schema in ((EFFECTS_NAME, EFFECTS), (EFFECTS_NULL_NAME, EFFECTS_NULL)):
        with parquet_stream(run.folder, [name], schema) as [writer]:
            for files, record in found:
                with files.folder.open(f"{effects_folder(record.outcome)}/{name}") as opened:
                    file = pq.ParquetFile(opened)
                    for group in range(file.num_row_groups):
                        table = file.read_row_group(group)
                        writer.write_table(table.cast(schema), row_group_size=max(1, table.num_rows))
    write_index(run.folder, EFFECTS_INDEX_NAME, [EFFECTS_NAME, EFFECTS_NULL_NAME])


def damaged_of_outcome(run: RunFiles, record: EffectsRecord) -> list[str]:
    """The damaged or missing files of the effects on one outcome. Shards count if they are complete."""
    damaged = damaged_names(run.folder, record.files, thorough=True)
    prepared = run.record.stages["prepare"].files
    for shard in record.shards if record.is_complete else ():
        if committed_effects(run.folder, record, shard, prepared[examples_name(shard)].sha256) is None:
            damaged.append(effect_sums_name(record.outcome, shard))
    return damaged


def damaged_effects(run: RunFiles) -> list[str]:
    """The damaged or missing files of all effects of a run and of its prompts, and of the tables at the root."""
    return damaged_with_tables(run, EFFECTS_INDEX_NAME, _own_damage)


def count_of_effect_files(run: RunFiles) -> int:
    """How many files `damaged_effects` reads."""
    tables = 3 if run.folder.exists(EFFECTS_INDEX_NAME) else 0
    return tables + sum(1 + len(record.files) + len(record.shards) for _, record in complete_effects(run))


def _own_damage(run: RunFiles) -> list[str]:
    damaged = []
    for outcome in outcomes_estimated(run.folder):
        try:
            damaged += damaged_of_outcome(run, read_effects_record(run.folder, outcome))
        except InputError:
            damaged.append(effects_record_name(outcome))
    return damaged
