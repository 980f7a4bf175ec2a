"""Silencing neurons of a finished run: a job of its own on the same scorers, for each soft prompt of the run."""

import shlex
from contextlib import ExitStack

import numpy as np
import polars as pl

from skilljobs.analysis.ablation_sets import choose_sets
from skilljobs.cluster.dashboard_jobs import is_dashboard
from skilljobs.errors import InputError, JobFailed
from skilljobs.pipeline.ablation import Ablation
from skilljobs.pipeline.workplace import Workplace
from skilljobs.plan.ablation_spec import AblationSpec
from skilljobs.plan.capacity import Placement
from skilljobs.plan.finished_run import FinishedRun, refuse_other_units
from skilljobs.progress.journal import Journal
from skilljobs.progress.lease import RunLease
from skilljobs.progress.reporter import Reporter
from skilljobs.store.ablation_tables import write_tables
from skilljobs.store.ablations import ablation_folder
from skilljobs.store.reader import RunReader
from skilljobs.store.run import RunFiles
from skilljobs.store.sweeping import sweep
from skilljobs.uris import parent_and_name


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
    plan = FinishedRun.of(readers[0].record, readers[0].record.halves[1], trust_remote_code)
    files = RunFiles(uri)
    with ExitStack() as stack:
        stack.enter_context(lease := RunLease(files.folder, reporter.note))
        lease.acquire()
        sweep(files.folder)
        reporter = stack.enter_context(Journal(files.folder, reporter))
        workplace = stack.enter_context(Workplace(plan.source, placement, reporter))
        for number, reader in enumerate(readers):
            prompt = number if len(readers) > 1 else None
            job = Ablation(reader, spec, ablation, plan, workplace, reporter, prompt)
            if job.is_done:
                reporter.note(f"{ablation_folder(ablation)} in {reader.uri} is complete already")
                continue
            try:
                job.make()
            except JobFailed as error:
                kept = f"what is committed in {reader.uri}/{ablation_folder(ablation)} is kept"
                raise JobFailed(f"{error}; {kept}: {error.way_on}", error.way_on) from error
        workplace.close()
        write_tables(files)
        if report:
            _write_report(root, reporter)
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
    from skilljobs.cluster.remote_job import run_on_cluster

    flags = {
        "--replicas": placement.replicas,
        "--shard-timeout": placement.shard_timeout,
        "--trust-remote-code": trust_remote_code,
        "--no-report": not report,
        "--debug": placement.debug,
    }
    command = shlex.join(["skilljobs", "ablate", uri, *spec.options()])
    run_on_cluster(command, str(placement.address), uri, parent_and_name(uri)[1], flags, True, reporter)


def check_request(root: RunReader, spec: AblationSpec) -> tuple[list[RunReader], str, int]:
    """The runs of each soft prompt that an ablation goes through, its ID, and how many sets each of them has.

    Raises:
        InputError: the run is not finished, lacks what is asked for, or read units that cannot be silenced.
    """
    record = root.record
    refuse_other_units(record)
    if not record.is_complete:
        raise InputError(f"the run at {root.uri} is not finished (it lacks {record.next_stage}): submit it again first")
    readers = root.prompts()
    sets = 0
    for reader in readers:
        if not all(reader.record.halves):
            raise InputError(f"the run at {reader.uri} has examples of one half only: nothing is left to measure on")
        norms = [np.ones(layer.count) for layer in reader.record.neurons]  # they are read once a model is loaded
        sets = len(choose_sets(reader, spec, norms).sets)
    return readers, spec.id_in(record.fingerprint.digest), sets


def _write_report(root: RunReader, reporter: Reporter) -> None:
    """The report of the run, whose failure costs no result."""
    from skilljobs.report.page import write_report

    try:
        reporter.note(f"report: {write_report(root)}")
    except Exception as error:
        reporter.note(f"the report was not written ({type(error).__name__}: {error}); the ablation itself is done")
