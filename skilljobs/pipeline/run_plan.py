"""Running the stages of a planned job, of one soft prompt or of several."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace

from skilljobs.cluster.jobs_page import shown_on_jobs_page
from skilljobs.pipeline.collect_stage import needed_plan
from skilljobs.pipeline.job import Job
from skilljobs.pipeline.opening import open_run
from skilljobs.pipeline.prompts_together import tune_together
from skilljobs.pipeline.run_stages import run_stages
from skilljobs.pipeline.stages import STAGES, STAGES_OVER_PROMPTS, names_of, required
from skilljobs.pipeline.workplace import Workplace
from skilljobs.plan.capacity import Placement
from skilljobs.plan.job_plan import JobPlan
from skilljobs.progress.journal import Journal
from skilljobs.progress.lease import RunLease
from skilljobs.progress.reporter import Reporter
from skilljobs.spec import JobSpec
from skilljobs.store.run import RunFiles, prompt_uri
from skilljobs.store.sweeping import sweep
from skilljobs.store.verification import damaged_files


def run_plan(
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
    """Do what is left of a planned job, and make again what is damaged.

    Args:
        report: whether to write the report too.
        verify: whether to read all files of finished stages to find damage; otherwise their sizes are compared.
        earlier_seconds: what was done before there was a plan, by name.
        lease: the right to work on the run, which is acquired if there is anything to do.

    Raises:
        InputError: the run was begun with something else, or the cluster or the model does not fit the job.
        JobFailed: the job could not be finished; what was committed is kept.
    """
    stages = STAGES_OVER_PROMPTS if plan.spec.prompts > 1 else STAGES
    run = open_run(uri, run_id, plan, names_of(required(stages)))
    for name, seconds in earlier_seconds.items():
        run.finish_stage(name, seconds)
    wanted = stages if report else required(stages)
    is_finished = run.record.is_complete and not damaged_files(run, verify)
    if is_finished:
        reporter.note(f"{run.uri} is complete already")
        if all(run.record.is_done(stage.name) for stage in wanted):
            return run
    lease.acquire()
    sweep(run.folder)
    if plan.like is not None:
        run.extend_fingerprint(plan.like.numerics)
    with ExitStack() as stack:
        if not isinstance(reporter, Journal):
            shown = stack.enter_context(shown_on_jobs_page(reporter))
            reporter = stack.enter_context(Journal(run.folder, shown))
        workplace = stack.enter_context(Workplace(plan.source, placement, reporter))
        if plan.like is not None:
            workplace.use_numerics(plan.like.record.numerics)
        if plan.spec.prompts > 1 and not is_finished:
            _run_prompts(plan, run, reporter, workplace, verify)
        run_stages(_job(plan, run, reporter, workplace), wanted, verify)
    return run


def _run_prompts(plan: JobPlan, run: RunFiles, reporter: Reporter, workplace: Workplace, verify: bool) -> None:
    """Do what is left of the run of each soft prompt, on the same scorers. All are tuned side by side first."""
    workplace.connect(run)
    stages = required(STAGES)
    jobs = [
        _prompt_job(plan, spec, run, number, reporter, workplace)
        for number, spec in enumerate(plan.spec.single_prompt_specs())
    ]
    tune_together(jobs, stages, verify)
    for number, job in enumerate(jobs):
        seed = job.plan.spec.initial_prompt_seed
        reporter.note(f"prompt {number + 1} of {plan.spec.prompts}, seed {seed}")
        if number:
            workplace.share_numerics(jobs[0].run.record, job.run)
        run_stages(job, stages, verify)


def _prompt_job(
    plan: JobPlan, spec: JobSpec, run: RunFiles, number: int, reporter: Reporter, workplace: Workplace
) -> Job:
    """The job of one of several prompts, whose run is within that of all."""
    plan = replace(plan, spec=spec)
    stages = names_of(required(STAGES))
    prompt_run = open_run(prompt_uri(run.uri, number), f"{run.record.run_id}/{number}", plan, stages)
    return _job(plan, prompt_run, reporter, workplace)


def _job(plan: JobPlan, run: RunFiles, reporter: Reporter, workplace: Workplace) -> Job:
    return Job(needed_plan(plan, run), run, reporter, workplace)
