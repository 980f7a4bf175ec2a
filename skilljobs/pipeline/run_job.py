"""Running a whole job from this process: texts, plan, run, stages."""

from contextlib import ExitStack
from dataclasses import replace

from skilljobs.cluster.session import ray_session
from skilljobs.pipeline.collect_stage import needed_plan
from skilljobs.pipeline.job import Job
from skilljobs.pipeline.opening import open_run, open_run_files
from skilljobs.pipeline.stage import Stage
from skilljobs.pipeline.stages import STAGES, STAGES_OVER_PROMPTS, required
from skilljobs.pipeline.texts import TextMaker
from skilljobs.pipeline.workplace import Workplace
from skilljobs.plan.capacity import Placement
from skilljobs.plan.data_options import make_task, resolve_spec
from skilljobs.plan.job_plan import JobPlan, plan_job
from skilljobs.progress.journal import Journal
from skilljobs.progress.reporter import Reporter
from skilljobs.spec import JobSpec
from skilljobs.store.run import RunFiles, prompt_uri
from skilljobs.tasks.text_task import TextTask


def run_job(spec: JobSpec, uri: str, run_id: str, placement: Placement, report: bool, reporter: Reporter) -> RunFiles:
    """Do what is left of a job, whose run is in `uri`. `report`: whether to write the report too.

    Raises:
        InputError: bad input; nothing was started.
        JobFailed: the job could not be finished; what was committed is kept.
    """
    spec, _ = resolve_spec(spec)
    stages = STAGES_OVER_PROMPTS if spec.prompts > 1 else STAGES
    with ExitStack() as stack:
        task = make_task(spec)
        rows, text_seconds = None, dict[str, float]()
        if isinstance(task, TextTask) and (task.options.generate or task.options.grader is not None):
            texts = TextMaker(spec, task, open_run_files(uri).folder)
            if not texts.are_done:
                plan_job(spec, texts.draft_rows())  # whatever is wrong with the rest shows before anything is written
                reporter = stack.enter_context(Journal(texts.folder, reporter))
                cluster = stack.enter_context(ray_session(placement.address, placement.debug))
                text_seconds = texts.make(cluster, placement, reporter)
            rows = texts.finished_rows()
        plan = plan_job(spec, rows)
        run = open_run(uri, run_id, plan, stages)
        for name, seconds in text_seconds.items():
            run.finish_stage(name, seconds)
        wanted = stages if report else required(stages)
        if run.record.is_complete:
            reporter.note(f"{run.uri} is complete already")
            if all(run.record.is_done(stage.name) for stage in wanted):
                return run
        if not isinstance(reporter, Journal):
            reporter = stack.enter_context(Journal(run.folder, reporter))
        workplace = stack.enter_context(Workplace(plan.source, placement, reporter))
        if spec.prompts > 1 and not run.record.is_complete:
            _run_prompts(plan, run, reporter, workplace)
        _run_stages(plan, run, reporter, workplace, wanted)
    return run


def _run_prompts(plan: JobPlan, run: RunFiles, reporter: Reporter, workplace: Workplace) -> None:
    """Do what is left of the run of each soft prompt, one after another, on the same scorers."""
    first: RunFiles | None = None
    stages = required(STAGES)
    for number, spec in enumerate(plan.spec.single_prompt_specs()):
        reporter.note(f"prompt {number + 1} of {plan.spec.prompts}, seed {spec.initial_prompt_seed}")
        prompt_plan = replace(plan, spec=spec)
        prompt_run = open_run(prompt_uri(run.uri, number), f"{run.record.run_id}/{number}", prompt_plan, stages)
        if first is None:
            first = prompt_run
        else:  # all prompts are read on one kind of device, with the same numerics
            workplace.use_numerics(first.record.numerics)
            known = first.record.fingerprint.fields
            prompt_run.extend_fingerprint({name: known[name] for name in known if name.startswith("numerics.")})
        _run_stages(prompt_plan, prompt_run, reporter, workplace, stages)


def _run_stages(
    plan: JobPlan, run: RunFiles, reporter: Reporter, workplace: Workplace, stages: tuple[Stage, ...]
) -> None:
    Job(needed_plan(plan, run), run, reporter, workplace).run_stages(stages)
