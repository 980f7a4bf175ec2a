"""Opening the run of a job: its record is made when the job is first submitted, and checked when it is again."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from skilljobs.checkpoints.safetensors_header import tensors_digest
from skilljobs.errors import InputError
from skilljobs.hashing import stable_digest
from skilljobs.plan.chosen_model import QUANTIZER
from skilljobs.plan.job_plan import JobPlan
from skilljobs.plan.reused_prompt import reused_prompt_bytes
from skilljobs.plan.versions import installed_version
from skilljobs.plan.work import most_tuning_steps
from skilljobs.selection import SAE, autoencoder_digest
from skilljobs.spec import WITHOUT_EFFECT_ON_NUMBERS, JobSpec
from skilljobs.store.record import (
    FORMAT_VERSION,
    Columns,
    ExampleCounts,
    Fingerprint,
    ModelFacts,
    QuarantinedRow,
    RunRecord,
)
from skilljobs.store.run import RunFiles, refuse_changes
from skilljobs.tasks.registry import find_task

COVERED_BY = {
    "data": "examples_digest",
    "train_data": "examples_digest",
    "model": "model_digest",
    "revision": "commit",
    "adapter": "adapter_digest",
    "like": "like",
    "metrics_from": "examples_digest",
}
"""Options that name files, and the field of the fingerprint that holds what was read from them."""


def default_run_id(spec: JobSpec) -> str:
    """Task, model, and a short hash of a resolved spec: the same spec finds its run again."""
    return f"{find_task(spec.task).name}-{Path(spec.model or '').name}-{spec.digest}"


def open_run_files(uri: str) -> RunFiles:
    """The files of a run, whether there are any yet or not.

    Raises:
        InputError: `uri` is not a place where files can be kept.
    """
    try:
        return RunFiles(uri)
    except InputError as error:
        reason = error.__cause__ or error
        raise InputError(f"--out: {uri} is not a folder that runs can be kept in: {reason}") from error


def open_run(uri: str, run_id: str, plan: JobPlan, stage_names: Sequence[str]) -> RunFiles:
    """The run of a job: begun now, or found and not changed in anything that determines its numbers.

    Args:
        stage_names: the stages without which the run is incomplete.

    Raises:
        InputError: the run exists and was begun with something else, or its directory cannot be written.
    """
    run = open_run_files(uri)
    fields = planned_fields(plan)
    if run.exists:
        refuse_other_run(run, plan, fields)
        run.plan_stages(tuple(stage_names))
        run.change_spec(plan.spec)
        return run
    record = RunRecord(
        run_id=run_id,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        spec=plan.spec.as_json(),
        planned_stages=tuple(stage_names),
        fingerprint=Fingerprint.of(fields),
        versions={name: installed_version(name) for name in ("skilljobs", "ray", "pyarrow", "numpy")},
        examples=ExampleCounts(train=len(plan.train), validation=len(plan.validation), test=len(plan.test)),
        shards=tuple(len(shard) for shard in plan.shards),
        halves=plan.halves,
        units_repeat=plan.units_repeat,
        model=ModelFacts(name=plan.source.name, commit=plan.source.revision),
        groups=plan.layout.groups,
        columns=Columns(
            fields=plan.columns.fields,
            metrics=plan.columns.metrics,
            one_hot=dict(plan.columns.one_hot),
            ignored=dict(plan.columns.ignored),
        ),
        provenance=True,
        quarantined=tuple(QuarantinedRow(source=r.source, row=r.number, reason=r.reason) for r in plan.bad_rows),
    )
    try:
        run.save(record)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"the run's directory {uri} cannot be written: {error}") from error
    return run


def refuse_other_run(run: RunFiles, plan: JobPlan, fields: dict[str, Any]) -> None:
    """Refuse a job on a run that was begun with something else; `fields` are those of `planned_fields`.

    Raises:
        InputError: names the first thing that differs.
    """
    _refuse_other_files(run, plan, fields)
    refuse_changes(run.uri, _defaults() | run.record.fingerprint.fields, fields)
    if run.record.is_done("reduce") and plan.spec.keep_null and run.record.spec.get("keep_null") is False:
        raise InputError(f"the run at {run.uri} has kept no correlations of null metrics: --keep-null is for a new run")


def planned_fields(plan: JobPlan) -> dict[str, Any]:
    """What determines the numbers and is known before anything runs.

    Options that cannot change a number are left out, and those that name files are represented by what the files hold.
    """
    left_out = WITHOUT_EFFECT_ON_NUMBERS | COVERED_BY.keys()
    fields = {name: value for name, value in plan.spec.as_json().items() if name not in left_out}
    steps = most_tuning_steps(plan.spec, len(plan.train))
    if steps != plan.spec.tune_steps:
        fields["most_tuning_steps"] = steps
    if plan.spec.units.startswith(SAE):
        fields["units"] = f"autoencoder {autoencoder_digest(plan.spec.units)}"
    if plan.like is not None:
        run = plan.like.record.fingerprint
        fields |= {"like": run.digest, "soft_prompt": run.fields.get("soft_prompt")}
    elif (prompt := reused_prompt_bytes(plan.spec)) is not None:
        fields["soft_prompt"] = f"tensor {_digest_of_prompt(prompt)}"
    if plan.spec.chat:
        fields["answer_end"] = plan.prompt_format.answer_end
    adapter = plan.source.adapter
    fields["adapter_digest"] = None if adapter is None else adapter.digest
    if adapter is not None:
        fields["version.peft"] = installed_version("peft")
    if plan.spec.quantize is not None:
        fields["version.bitsandbytes"] = installed_version(QUANTIZER)
    if plan.source.revision is not None:
        fields["commit"] = plan.source.revision
    return fields | {
        "format": FORMAT_VERSION,
        "model_digest": plan.source.digest,
        "examples_digest": plan.examples_digest,
        "metrics": [[metric.name, metric.nullable] for metric in plan.layout.metrics],
        "populations": list(plan.layout.populations),
        "shard_sizes": [len(shard) for shard in plan.shards],
    }


def _defaults() -> dict[str, Any]:
    """What a run has done that was begun before there was an option: it used the option's default."""
    options = JobSpec(data="").as_json() | {"adapter_digest": None}
    return {name: value for name, value in options.items() if name not in {*COVERED_BY, "task"}}


def _digest_of_prompt(prompt: bytes) -> str:
    try:
        return tensors_digest(prompt)
    except (ValueError, KeyError, TypeError):
        return stable_digest(prompt.hex(), size=16).hex()


def _refuse_other_files(run: RunFiles, plan: JobPlan, fields: dict[str, Any]) -> None:
    """Refuse another model or data file by the option that names it, where the option differs as well.

    Raises:
        InputError: gives the option with its old and new value.
    """
    before, now = run.record.spec, plan.spec.as_json()
    for option, field in COVERED_BY.items():
        if before.get(option) != now[option] and run.record.fingerprint.fields.get(field) != fields.get(field):
            refuse_changes(run.uri, {option: before.get(option)}, {option: now[option]})
