"""Estimating what each neuron of a finished run does: a job of its own on the same scorers, for each soft prompt."""

import polars as pl

from skilljobs.cluster.dashboard_jobs import is_dashboard
from skilljobs.errors import InputError
from skilljobs.pipeline.estimation import Effects
from skilljobs.pipeline.finished_job import do_on_cluster, do_on_prompts, prompts_of_finished, write_report_anew
from skilljobs.pipeline.silencing import Silencing
from skilljobs.pipeline.workplace import Workplace
from skilljobs.plan.ablation_spec import Rule
from skilljobs.plan.capacity import Placement
from skilljobs.plan.effects_spec import EffectsSpec
from skilljobs.plan.finished_run import FinishedRun
from skilljobs.progress.reporter import Reporter
from skilljobs.stats.effect_sums import Outcome
from skilljobs.store.effect_files import (
    effects_folder,
)
from skilljobs.store.effect_tables import write_effect_tables
from skilljobs.store.reader import RunReader
from skilljobs.store.run import RunFiles


def run_effects(
    uri: str, spec: EffectsSpec, placement: Placement, trust_remote_code: bool, report: bool, reporter: Reporter
) -> Outcome:
    """Do what is left of estimating the effects in the run at `uri`, and bring the table at its root up to date.

    Args:
        report: whether to write the run's report anew, with the effects in it.

    Returns:
        the outcome that the effects are on.

    Raises:
        InputError: bad input, or a run that it cannot be done on; nothing was started.
        JobFailed: it could not be finished; what was committed is kept.
    """
    root = RunReader(uri)
    readers, outcome = check_effects(root, spec)

    def job_on(
        reader: RunReader, plan: FinishedRun, workplace: Workplace, reporter: Reporter, prompt: int | None
    ) -> Effects:
        inside = effects_folder(outcome)
        silencing = Silencing(reader, inside, Rule(0.0, 0.0, "mean"), False, 0, plan, workplace, reporter)
        return Effects(silencing, outcome, prompt)

    def conclude(reporter: Reporter) -> None:
        write_effect_tables(RunFiles(uri))
        if report:
            write_report_anew(root, reporter)

    do_on_prompts(readers, root, effects_folder(outcome), job_on, placement, trust_remote_code, reporter, conclude)
    return outcome


def effects_of_run(
    uri: str, spec: EffectsSpec, placement: Placement, trust_remote_code: bool, report: bool, reporter: Reporter
) -> pl.DataFrame:
    """Estimate effects here, or on the cluster whose dashboard is at `placement.address`; their rows of
    `effects.parquet`.

    Errors are as for `run_effects`. On a cluster, the run must be visible from here as well.
    """
    if is_dashboard(placement.address):
        effects_on_cluster(uri, spec, placement, trust_remote_code, report, reporter)
        _, outcome = check_effects(RunReader(uri), spec)
    else:
        outcome = run_effects(uri, spec, placement, trust_remote_code, report, reporter)
    return RunReader(uri).effect_table().filter(pl.col("outcome") == outcome).collect()


def effects_on_cluster(
    uri: str, spec: EffectsSpec, placement: Placement, trust_remote_code: bool, report: bool, reporter: Reporter
) -> None:
    """Have a cluster estimate them, by the same command on its head, and follow it; errors as `run_on_cluster`."""
    do_on_cluster("effects", uri, spec.options(), placement, trust_remote_code, report, reporter)


def check_effects(root: RunReader, spec: EffectsSpec) -> tuple[list[RunReader], Outcome]:
    """The runs of each soft prompt, and the outcome that the effects are on.

    Raises:
        InputError: the run is not finished, has no examples with that outcome, or read units that effects are not
            estimated for.
    """
    readers = prompts_of_finished(root)
    for reader in readers:
        for layer in reader.record.neurons:
            if layer.experts:
                raise InputError(
                    f"the model of the run {root.record.run_id} is a mixture of experts (layer {layer.layer}), for"
                    " whose neurons effects are not estimated: `skilljobs ablate` silences them"
                )
    counts = readers[0].scores().group_by("half").agg(pl.col("margin").count()).collect()
    with_margin = dict(counts.iter_rows())
    outcome: Outcome = spec.outcome or ("margin" if any(with_margin.values()) else "target_logprob")
    if outcome == "margin" and not all(with_margin.get(half) for half in (0, 1)):
        raise InputError(
            f"the run {root.record.run_id} has no examples with choices in one of its halves, and the margin is of"
            " choices: --outcome target_logprob"
        )
    return readers, outcome
