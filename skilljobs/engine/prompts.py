"""A run of several soft prompts: a run for each under `prompts/`, and the correlations over all of them."""

from dataclasses import replace
from functools import partial

from skilljobs.engine.aggregate import aggregate_layer
from skilljobs.engine.cluster.capacity import Placement
from skilljobs.engine.pipeline import run_job
from skilljobs.engine.plan import JobPlan
from skilljobs.engine.record import add_fields, open_record
from skilljobs.engine.reducer import ReduceJob
from skilljobs.engine.reducing import reduce_all
from skilljobs.engine.stages import connected, stage
from skilljobs.errors import JobFailed
from skilljobs.reporter import Reporter
from skilljobs.store.reference import METRICS_NAME
from skilljobs.store.run import RunFiles, prompt_uri


def run_prompts(plan: JobPlan, run: RunFiles, reporter: Reporter, placement: Placement) -> None:
    """Do what is left of a job of several prompts, one after another: each is tuned, collected and reduced by itself.

    Raises:
        InputError, JobFailed: as `run_job`.
    """
    with connected(run, reporter, placement):
        prompts: list[RunFiles] = []
        for number, spec in enumerate(plan.spec.of_each_prompt()):
            reporter.note(f"prompt {number + 1} of {plan.spec.prompts}, seed {spec.seed_of_prompt}")
            of_prompt = replace(plan, spec=spec)
            files = open_record(prompt_uri(run.uri, number), f"{run.record['run_id']}/{number}", of_prompt)
            if prompts:
                files.record["numerics"] = files.record["numerics"] or prompts[0].record["numerics"]
                fields = prompts[0].record["fingerprint"]["fields"]  # so that all are read on one kind of device
                add_fields(files, {name: fields[name] for name in fields if name.startswith("numerics.")})
            if not files.stage_done("trace"):
                run_job(of_prompt, files, reporter, placement)
            fields = files.record["fingerprint"]["fields"]
            add_fields(run, {name: fields[name] for name in fields if name.startswith(("numerics.", "version."))})
            prompts.append(files)
        digests = [files.record["fingerprint"]["digest"] for files in prompts]
        add_fields(run, {"prompts_fingerprints": digests})
        _aggregate(plan, run, prompts, reporter)


def _aggregate(plan: JobPlan, run: RunFiles, prompts: list[RunFiles], reporter: Reporter) -> None:
    first = prompts[0].record
    run.record |= {name: first[name] for name in ("numerics", "model", "skewness")}
    run.record["versions"] |= first["versions"]
    run.record["bit_exact"] = all(files.record["bit_exact"] for files in prompts)
    run.record["accuracy"] = {
        name: _mean([files.record["accuracy"][name] for files in prompts]) for name in first["accuracy"]
    }
    run.folder.write(METRICS_NAME, prompts[0].folder.read(METRICS_NAME))
    layers = len(first["model"]["neurons_per_layer"])
    job = ReduceJob(run.uri, plan.layout, plan.halves, plan.kept_tokens, layers)
    with stage(run, reporter, "reduce", layers) as done:
        try:
            reduce_all(job, partial(aggregate_layer, job, [files.uri for files in prompts]), reporter)
        except JobFailed as error:
            raise JobFailed(f"{error}; the same command resumes") from error
        done(f"{layers} layers over {len(prompts)} prompts")


def _mean(values: list[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    return sum(present) / len(present) if present else None
