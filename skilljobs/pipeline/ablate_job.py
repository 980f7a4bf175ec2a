"""Silencing neurons of a finished run: a job of its own on the same scorers, for each soft prompt of the run."""

import numpy as np
import polars as pl

from skilljobs.analysis.ablation_sets import choose_sets
from skilljobs.cluster.dashboard_jobs import is_dashboard
from skilljobs.pipeline.ablation import Ablation
from skilljobs.pipeline.finished_job import do_on_cluster, do_on_prompts, prompts_of_finished, write_report_anew
from skilljobs.pipeline.workplace import Workplace
from skilljobs.plan.ablation_spec import AblationSpec
from skilljobs.plan.capacity import Placement
from skilljobs.plan.finished_run import FinishedRun
from skilljobs.progress.reporter import Reporter
from skilljobs.store.ablation_tables import write_tables
from skilljobs.store.ablations import ablation_folder
from skilljobs.store.reader import RunReader
from skilljobs.store.run import RunFiles


def run_ablation(
    uri: str, spec: AblationSpec, placement: Placement, trust_remote_code: bool, report: bool, reporter: Reporter
) -> str:
    """Do what is left of an ablation of the run at `uri`, and bring the tables at its root up to date.

    Args:
        report: whether to write the run's report anew, with the ablation in it.

    Returns:
        the ablation's ID.

    Raises:
        InputError: bad input, or a run that it cannot be done on; nothing was started.
        JobFailed: it could not be finished; what was committed is kept.
    """
    root = RunReader(uri)
    readers, ablation, _ = check_request(root, spec)

    def job_on(
        reader: RunReader, plan: FinishedRun, workplace: Workplace, reporter: Reporter, prompt: int | None
    ) -> Ablation:
        return Ablation(reader, spec, ablation, plan, workplace, reporter, prompt)

    def conclude(reporter: Reporter) -> None:
        write_tables(RunFiles(uri))
        if report:
            write_report_anew(root, reporter)

    inside = ablation_folder(ablation)
    do_on_prompts(readers, root, inside, job_on, placement, trust_remote_code, reporter, conclude)
    return ablation


def ablate_run(
    uri: str, spec: AblationSpec, placement: Placement, trust_remote_code: bool, report: bool, reporter: Reporter
) -> pl.DataFrame:
    """Do an ablation here, or on the cluster whose dashboard is at `placement.address`; its rows of `ablation.parquet`.

    Errors are as for `run_ablation`. On a cluster, the run must be visible from here as well.
    """
    if is_dashboard(placement.address):
        ablate_on_cluster(uri, spec, placement, trust_remote_code, report, reporter)
        ablation = spec.id_in(RunReader(uri).record.fingerprint.digest)
    else:
        ablation = run_ablation(uri, spec, placement, trust_remote_code, report, reporter)
    return RunReader(uri).ablation().filter(pl.col("ablation") == ablation).collect()


def ablate_on_cluster(
    uri: str, spec: AblationSpec, placement: Placement, trust_remote_code: bool, report: bool, reporter: Reporter
) -> None:
    """Have a cluster do an ablation, by the same command on its head, and follow it; errors as `run_on_cluster`."""
    do_on_cluster("ablate", uri, spec.options(), placement, trust_remote_code, report, reporter)


def check_request(root: RunReader, spec: AblationSpec) -> tuple[list[RunReader], str, int]:
    """The runs of each soft prompt that an ablation goes through, its ID, and how many sets each of them has.

    Raises:
        InputError: the run is not finished, lacks what is asked for, or read units that cannot be silenced.
    """
    readers = prompts_of_finished(root)
    sets = 0
    for reader in readers:
        norms = [np.ones(layer.count) for layer in reader.record.neurons]  # they are read once a model is loaded
        sets = len(choose_sets(reader, spec, norms).sets)
    return readers, spec.id_in(root.record.fingerprint.digest), sets
