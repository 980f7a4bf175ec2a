"""Running a whole job from this process: its texts, its plan, and then its stages.

Ray is imported only after everything that can be refused has been checked.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from skilljobs.checkpoints.source import ModelSource
from skilljobs.machine import has_gpu_devices
from skilljobs.pipeline.opening import open_run_files, planned_fields, refuse_other_run
from skilljobs.pipeline.texts import TextMaker
from skilljobs.plan.added_metrics import plan_added_metrics
from skilljobs.plan.capacity import Placement
from skilljobs.plan.data_options import make_task, resolve_spec
from skilljobs.plan.job_plan import JobPlan, plan_job
from skilljobs.plan.prompt_format import ChatFormat
from skilljobs.plan.resharding import resharded
from skilljobs.plan.shard_size import default_shard_size
from skilljobs.progress.journal import Journal
from skilljobs.progress.lease import RunLease
from skilljobs.progress.reporter import Reporter
from skilljobs.spec import JobSpec
from skilljobs.store.run import RunFiles
from skilljobs.tasks.base import Example
from skilljobs.tasks.external_columns import blocks_of
from skilljobs.tasks.text_task import TextTask


def read_chat(source: ModelSource, system: str | None, answer_end: str | None) -> ChatFormat:
    """The chat template of a model (see `skilljobs.lm.chat.read_chat`). Imports transformers."""
    from skilljobs.lm import chat

    return chat.read_chat(source, system, answer_end)


def check_shareable(source: ModelSource, spec: JobSpec) -> None:
    """See `skilljobs.lm.tensor_parallel.check_shareable`. Imports transformers."""
    from skilljobs.lm import tensor_parallel

    tensor_parallel.check_shareable(source, spec)


def read_labels(source: ModelSource, examples: Sequence[Example]) -> dict[str, str]:
    """The examples that a masked language model cannot read (see `skilljobs.lm.masked.label_problems`)."""
    from skilljobs.lm.load import load_tokenizer
    from skilljobs.lm.masked import label_problems

    tokenizer, problems = load_tokenizer(source), dict[str, str]()
    for block in blocks_of(examples):
        problems |= label_problems(tokenizer, block.examples)
    return problems


def check_job(spec: JobSpec, uri: str, placement: Placement) -> JobPlan:
    """Everything that can be refused of a job before anything starts, and its plan; nothing is written.

    Where the texts of its examples are still to be written, the plan is that of placeholders.

    Raises:
        InputError: bad input, or the run in `uri` was begun with something else.
    """
    spec, _ = resolve_spec(spec)
    files = open_run_files(uri)
    if spec.like is not None:
        plan, is_final = plan_added_metrics(spec), True
    else:
        task = make_task(spec)
        rows, is_final = None, True
        if isinstance(task, TextTask) and (task.options.generate or task.options.grader is not None):
            texts = TextMaker(spec, task, files.folder)
            is_final = texts.are_done
            rows = texts.finished_rows() if is_final else texts.draft_rows()
        plan = _plan(spec, rows, files, placement, None)
    if is_final and files.exists:
        refuse_other_run(files, plan, planned_fields(plan))
    return plan


def _plan(
    spec: JobSpec,
    rows: Sequence[Mapping[str, Any]] | None,
    files: RunFiles,
    placement: Placement,
    stack: ExitStack | None,
) -> JobPlan:
    """The plan of a job, whose shards are those of its run if that exists, and otherwise large enough to pay.

    Ray may be connected to for the time of `stack`, if it is given, to see whether there are GPUs.
    """
    plan = plan_job(spec, rows, read_chat, read_labels, _stored_shard_size(files))
    _check_ranks(plan, placement)
    if _has_its_shards(plan, files):
        return plan
    larger = default_shard_size(plan, _has_gpus(plan, placement, stack))
    return plan if larger == plan.shard_size else resharded(plan, larger)


def _has_its_shards(plan: JobPlan, files: RunFiles) -> bool:
    """Whether the size of shards is that of a run, or of the spec."""
    return files.exists or plan.spec.shard_size is not None


def _stored_shard_size(files: RunFiles) -> int | None:
    """The size of the shards that a run was begun with, all of which may not be needed; None if there is no run."""
    sizes = files.record.fingerprint.fields.get("shard_sizes") if files.exists else None
    return max(sizes) if isinstance(sizes, list) and sizes and all(type(size) is int for size in sizes) else None


def _has_gpus(plan: JobPlan, placement: Placement, stack: ExitStack | None) -> bool:
    """Whether scorers will have GPUs, if that matters."""
    if placement.gpus_per_replica is not None:
        return placement.gpus_per_replica > 0
    if default_shard_size(plan, on_gpu=True) == plan.shard_size:
        return False
    if placement.address is None and not has_gpu_devices():
        return False
    if stack is None:
        return placement.address is None
    from skilljobs.cluster.session import ray_session

    return stack.enter_context(ray_session(placement.address, placement.debug)).gpus > 0


def is_for_cpus_alone(plan: JobPlan, files: RunFiles, placement: Placement) -> bool:
    """Whether the job would have fewer shards than `check_job` plans if the cluster that it is for has GPUs."""
    may_have_gpus = placement.address is not None and placement.gpus_per_replica is None
    is_open = plan.like is None and not _has_its_shards(plan, files)
    return may_have_gpus and is_open and default_shard_size(plan, on_gpu=True) > plan.shard_size


def _check_ranks(plan: JobPlan, placement: Placement) -> None:
    if plan.spec.tensor_parallel > 1:
        placement.check_ranks(plan.spec.tensor_parallel)
        check_shareable(plan.source, plan.spec)


def run_job(
    spec: JobSpec, uri: str, run_id: str, placement: Placement, report: bool, verify: bool, reporter: Reporter
) -> RunFiles:
    """Do what is left of a job, whose run is in `uri`; `report` and `verify` are as for `run_plan`.

    Raises:
        InputError: bad input; nothing was started.
        JobFailed: the job could not be finished; what was committed is kept.
    """
    spec, _ = resolve_spec(spec)
    with ExitStack() as stack:
        files = open_run_files(uri)
        lease = stack.enter_context(RunLease(files.folder, reporter.note))
        if spec.like is not None:
            return _run_planned(plan_added_metrics(spec), uri, run_id, placement, report, reporter, verify, {}, lease)
        task = make_task(spec)
        rows: Sequence[Mapping[str, Any]] | None = None
        text_seconds: dict[str, float] = {}
        if isinstance(task, TextTask) and (task.options.generate or task.options.grader is not None):
            texts = TextMaker(spec, task, files.folder)
            if not texts.are_done:
                # what is wrong with the rest shows before that is done
                plan_job(spec, texts.draft_rows(), read_chat, read_labels)
                from skilljobs.cluster.jobs_page import shown_on_jobs_page
                from skilljobs.cluster.session import ray_session

                lease.acquire()
                shown = stack.enter_context(shown_on_jobs_page(reporter))
                reporter = stack.enter_context(Journal(texts.folder, shown))
                cluster = stack.enter_context(ray_session(placement.address, placement.debug))
                text_seconds = texts.make(cluster, placement, reporter)
            rows = texts.finished_rows()
        plan = _plan(spec, rows, files, placement, stack)
        return _run_planned(plan, uri, run_id, placement, report, reporter, verify, text_seconds, lease)


def _run_planned(
    plan: JobPlan,
    uri: str,
    run_id: str,
    placement: Placement,
    report: bool,
    reporter: Reporter,
    verify: bool,
    earlier_seconds: Mapping[str, float],
    lease: RunLease,
) -> RunFiles:
    """See `skilljobs.pipeline.run_plan.run_plan`. Imports Ray."""
    files = open_run_files(uri)
    if not (files.exists and files.record.is_complete):
        lease.acquire()
    from skilljobs.pipeline.run_plan import run_plan

    return run_plan(plan, uri, run_id, placement, report, reporter, verify, earlier_seconds, lease)
