"""The jobs of a series: the same options for each model, and the record that says which runs belong together."""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from skilljobs.errors import InputError
from skilljobs.hashing import stable_digest
from skilljobs.pipeline.asked_job import AskedJob
from skilljobs.plan.call_arguments import checked_run_id
from skilljobs.plan.checkpoints_asked import AskedCheckpoint
from skilljobs.spec import WITHOUT_EFFECT_ON_NUMBERS
from skilljobs.store.run import RunFiles
from skilljobs.store.series_files import Checkpoint, SeriesFiles, SeriesRecord
from skilljobs.tasks.registry import find_task
from skilljobs.uris import child_uri

OF_ONE_MODEL = ("model", "revision")
"""Options in which the jobs of a series differ."""


def options_of_checkpoints(checkpoints: Sequence[AskedCheckpoint]) -> list[dict[str, Any]]:
    """What each job of a series has of its own."""
    return [{"model": one.model} | ({} if one.revision is None else {"revision": one.revision}) for one in checkpoints]


def record_of_series(
    checkpoints: Sequence[AskedCheckpoint], jobs: Sequence[AskedJob], name: str | None
) -> SeriesRecord:
    """The record of a series.

    Without a name, the series is called after its task, its models and a hash of its options: with more checkpoints
    whose names differ in numbers, or more revisions of a model, it is the same one.
    """
    options = {n: value for n, value in jobs[0].spec.chosen.items() if n not in OF_ONE_MODEL}
    if name is None:
        decisive = {n: value for n, value in options.items() if n not in WITHOUT_EFFECT_ON_NUMBERS}
        families = list(dict.fromkeys(one.family for one in checkpoints))
        digest = stable_digest(json.dumps([decisive, *sorted(families)], sort_keys=True), size=4).hex()
        stem = Path(families[0]).name.replace("#", "").strip("-_.") or "models"
        name = f"series-{find_task(jobs[0].spec.task).name}-{stem}-{digest}"
    else:
        checked_run_id(name)
    return SeriesRecord(
        name=name,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        options=options,
        checkpoints=tuple(
            Checkpoint(label=one.label, model=str(job.spec.model), revision=one.revision, run_id=job.run_id)
            for one, job in zip(checkpoints, jobs, strict=True)
        ),
    )


def store_series(record: SeriesRecord, out: str, on_note: Callable[[str], None]) -> SeriesFiles:
    """Write the record of a series, or find it there with the same options; checkpoints may be others than before.

    Raises:
        InputError: the name is that of a run, or of a series with other options; or it cannot be written.
    """
    files = SeriesFiles(child_uri(out, record.name))
    if RunFiles(files.uri).exists:
        raise InputError(f"--name {record.name}: there is a run of that name in {out}")
    if files.exists:
        before = files.read()
        refuse_other_options(files.uri, before.options, record.options)
        now = {one.run_id for one in record.checkpoints}
        left_out = [one.label for one in before.checkpoints if one.run_id not in now]
        if left_out:
            on_note(f"no longer in the series, with their runs kept: {', '.join(left_out)}")
        record = record.model_copy(update={"created": before.created})
        if record == before:
            return files
    files.write(record)
    return files


def refuse_other_options(uri: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse to go on with a series with other options.

    Raises:
        InputError: names the first one that differs, with its old and new value.
    """
    for name in sorted({*before, *now} - WITHOUT_EFFECT_ON_NUMBERS):
        if before.get(name) != now.get(name):
            raise InputError(
                f"the series at {uri} was begun with {name} = {before.get(name)!r}, now it is {now.get(name)!r}: use"
                " another --name, or repeat the first command"
            )
