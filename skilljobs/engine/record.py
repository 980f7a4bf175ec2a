"""The record of a run: made when the job is first submitted, checked when it is submitted again."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from skilljobs.engine.numerics import Numerics
from skilljobs.engine.plan import JobPlan
from skilljobs.engine.versions import installed_version
from skilljobs.errors import InputError
from skilljobs.spec import JobSpec
from skilljobs.store.examples import example_bytes, example_schema
from skilljobs.store.run import TUNING_EXAMPLES_NAME, RunFiles, fingerprint_digest, refuse_changes
from skilljobs.store.schema import FORMAT_VERSION
from skilljobs.store.shards import examples_name
from skilljobs.tasks.registry import find_task


def default_run_id(spec: JobSpec) -> str:
    """Task, model, and a short hash of the spec, whose model is named: the same spec finds its run again."""
    return f"{find_task(spec.task).name}-{Path(spec.model or '').name}-{spec.digest}"


def open_record(uri: str, run_id: str, plan: JobPlan) -> RunFiles:
    """The run's files: begun now, or found and not changed.

    Raises:
        InputError: the run exists and was begun with something else.
    """
    run = open_files(uri)
    fields = planned_fields(plan)
    if run.exists:
        run.load()
        refuse_changes(uri, run.record["fingerprint"]["fields"], fields)
        return run
    run.record = {
        "format": FORMAT_VERSION,
        "run_id": run_id,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "spec": plan.spec.as_json(),
        "numerics": None,
        "fingerprint": {"digest": fingerprint_digest(fields), "fields": fields},
        "versions": {name: installed_version(name) for name in ("skilljobs", "ray", "pyarrow", "numpy")},
        "stages": {},
        "accuracy": {"before": None, "after": None, "test": None},
        "examples": {"train": len(plan.train), "validation": len(plan.validation), "test": len(plan.test)},
        "shards": [len(shard) for shard in plan.shards],
        "halves": [list(shards) for shards in plan.halves],
        "units_repeat": plan.units_repeat,
        "model": {"name": plan.source.name},
        "groups": {column: list(names) for column, names in plan.layout.groups.items()},
        "quarantined": [{"source": row.source, "row": row.number, "reason": row.reason} for row in plan.bad_rows],
        "bit_exact": None,
    }
    try:
        run.save()
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"the run's directory {uri} cannot be written: {error}") from error
    return run


def open_files(uri: str) -> RunFiles:
    """The files of a run, whether there are any or not.

    Raises:
        InputError: it is not a place for files.
    """
    try:
        return RunFiles(uri)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise InputError(f"--out: {uri} is not a folder that runs can be kept in: {error}") from error


def planned_fields(plan: JobPlan) -> dict[str, Any]:
    """What determines the numbers and is known before anything runs."""
    return plan.spec.as_json() | {
        "format": FORMAT_VERSION,
        "model_digest": plan.source.digest,
        "examples_digest": plan.examples_digest,
        "metrics": [[metric.name, metric.nullable] for metric in plan.layout.metrics],
        "populations": list(plan.layout.populations),
        "shard_sizes": [len(shard) for shard in plan.shards],
    }


def add_fields(run: RunFiles, fields: dict[str, Any]) -> None:
    """Add what became known to the fingerprint; refuse it if the run was begun with something else."""
    stored = run.record["fingerprint"]["fields"]
    refuse_changes(run.uri, stored, fields)
    stored.update(fields)
    run.record["fingerprint"]["digest"] = fingerprint_digest(stored)
    run.save()


def stored_numerics(run: RunFiles) -> Numerics | None:
    numerics = run.record["numerics"]
    return None if numerics is None else Numerics(**numerics)


def write_examples(run: RunFiles, plan: JobPlan) -> None:
    """The examples of every shard, and those that tune."""
    tuning = plan.train + plan.validation
    schema = example_schema(plan.test + tuning)
    for shard, examples in enumerate(plan.shards):
        run.folder.write(examples_name(shard), example_bytes(examples, schema))
    run.folder.write(TUNING_EXAMPLES_NAME, example_bytes(tuning, schema))
