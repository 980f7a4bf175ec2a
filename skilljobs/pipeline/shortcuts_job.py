"""Looking for shortcuts in a finished run: a job of its own on the same scorers, for each soft prompt of the run."""

from collections.abc import Sequence

import polars as pl

from skilljobs.analysis.ablation_cost import prompt_length
from skilljobs.analysis.half_examples import halves_of
from skilljobs.analysis.neurons_in_question import neurons_in_question
from skilljobs.cluster.dashboard_jobs import is_dashboard
from skilljobs.errors import InputError
from skilljobs.pipeline.finished_job import do_on_cluster, do_on_prompts, prompts_of_finished, write_report_anew
from skilljobs.pipeline.run_job import read_chat
from skilljobs.pipeline.shortcut_search import ShortcutSearch
from skilljobs.pipeline.workplace import Workplace
from skilljobs.plan.capacity import Placement
from skilljobs.plan.finished_run import FinishedRun
from skilljobs.plan.matched_spec import plan_matched
from skilljobs.plan.shortcuts_spec import ShortcutsSpec
from skilljobs.progress.reporter import Reporter
from skilljobs.properties.candidates import always_held, candidate_properties
from skilljobs.properties.own_properties import own_properties
from skilljobs.properties.property import values_of
from skilljobs.store.reader import RunReader
from skilljobs.store.run import RunFiles
from skilljobs.store.shortcut_files import shortcuts_folder, write_shortcuts_table
from skilljobs.tasks.base import Example


def run_shortcuts(
    uri: str, spec: ShortcutsSpec, placement: Placement, trust_remote_code: bool, report: bool, reporter: Reporter
) -> str:
    """Do what is left of a search on the run at `uri`, and bring the table at its root up to date.

    Args:
        report: whether to write the run's report anew, with what was found in it.

    Returns:
        the search's ID.

    Raises:
        InputError: bad input, or a run that it cannot be done on; nothing was started.
        JobFailed: it could not be finished; what was committed is kept.
    """
    root = RunReader(uri)
    readers, search = check_search(root, spec)

    def job_on(
        reader: RunReader, plan: FinishedRun, workplace: Workplace, reporter: Reporter, prompt: int | None
    ) -> ShortcutSearch:
        return ShortcutSearch(reader, spec, search, plan, workplace, reporter, prompt)

    def conclude(reporter: Reporter) -> None:
        write_shortcuts_table(RunFiles(uri))
        if report:
            write_report_anew(root, reporter)

    inside = shortcuts_folder(search)
    do_on_prompts(readers, root, inside, job_on, placement, trust_remote_code, reporter, conclude)
    return search


def find_shortcuts(
    uri: str, spec: ShortcutsSpec, placement: Placement, trust_remote_code: bool, report: bool, reporter: Reporter
) -> pl.DataFrame:
    """Search here, or on the cluster whose dashboard is at `placement.address`; its rows of `shortcuts.parquet`.

    Errors are as for `run_shortcuts`. On a cluster, the run must be visible from here as well.
    """
    if is_dashboard(placement.address):
        shortcuts_on_cluster(uri, spec, placement, trust_remote_code, report, reporter)
        search = spec.id_in(RunReader(uri).record.fingerprint.digest)
    else:
        search = run_shortcuts(uri, spec, placement, trust_remote_code, report, reporter)
    return RunReader(uri).shortcut_rows().filter(pl.col("shortcuts") == search).collect()


def shortcuts_on_cluster(
    uri: str, spec: ShortcutsSpec, placement: Placement, trust_remote_code: bool, report: bool, reporter: Reporter
) -> None:
    """Have a cluster search, by the same command on its head, and follow it; errors as `run_on_cluster`."""
    do_on_cluster("shortcuts", uri, spec.options(), placement, trust_remote_code, report, reporter)


def check_matched(reader: RunReader, spec: ShortcutsSpec, examples: Sequence[Example]) -> None:
    """Check the matched examples of `--data`, given the run's own.

    Raises:
        InputError: they do not fit the run, a property fails on them, or the run's examples need none.
    """
    assert spec.data is not None
    plan = plan_matched(reader, spec.data, spec.limit, read_chat)
    always = always_held(examples, spec.property)
    if not always:
        raise InputError(f"--data {spec.data}: no property holds for nearly every example of the run, so none needs it")
    matched = plan.test
    own_properties(spec.property, matched)
    values = values_of(always, matched)
    if not (values == 0).any():
        named = ", ".join(repr(of.name) for of in always)
        raise InputError(f"--data {spec.data}: all of its examples, too, have what those of the run have: {named}")


def check_search(root: RunReader, spec: ShortcutsSpec) -> tuple[list[RunReader], str]:
    """The runs of each soft prompt that a search goes through, and its ID.

    Raises:
        InputError: the run is not finished, lacks what is asked for, or read units that cannot be silenced; or a
            property fails.
    """
    readers = prompts_of_finished(root)
    for reader in readers:
        neurons_in_question(reader, spec, prompt_length(reader))
        first, second = halves_of(reader, spec)
        candidate_properties(first.examples, spec.property)
        own_properties(spec.property, second.examples)
        if spec.data is not None:
            check_matched(reader, spec, [*first.examples, *second.examples])
    return readers, spec.id_in(root.record.fingerprint.digest)
