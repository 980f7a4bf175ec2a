"""Series of models from Python: the same job on each, and what their runs say together."""

import os
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Unpack

import polars as pl

from skilljobs.analysis.emergence import SeriesMember, emergence
from skilljobs.analysis.series_conclusions import series_conclusions
from skilljobs.api import OUT, Run, open_run
from skilljobs.errors import InputError, SomeJobsFailed
from skilljobs.plan.capacity import Placement
from skilljobs.progress.notebook import suitable_reporter
from skilljobs.progress.reporter import Reporter
from skilljobs.several import ONE_PROCESS, check_many, driven_address
from skilljobs.stats.layout import ALL
from skilljobs.store.series_files import SeriesFiles, SeriesRecord
from skilljobs.submit_options import SubmitOptions

if TYPE_CHECKING:
    from skilljobs.report.charts import Figure

TOP = 100
"""Rank down to which the overlap of top neurons is counted."""


class Series:
    """The runs of one job on several models, in order."""

    def __init__(self, uri: str, members: Sequence[SeriesMember]) -> None:
        self.uri = uri
        """Its folder, or where it would be, for runs that are only compared."""
        self.members = tuple(members)

    @property
    def runs(self) -> list[Run]:
        """The run of each model, whether it is finished or not."""
        return [Run(member.run.uri) for member in self.members]

    @cached_property
    def metrics(self) -> list[str]:
        """The metrics that all measured runs have, null metrics aside; `confidence` first."""
        measured = [member for member in self.members if member.is_measured]
        names = [[m.name for m in member.run.layout().metrics if m.kind != "null"] for member in measured]
        common = [name for name in (names[0] if names else []) if all(name in others for others in names)]
        return sorted(common, key=lambda name: name != "confidence")

    def emergence(self, metric: str, population: str = ALL, k: int = TOP) -> pl.DataFrame:
        """A row for each model: its strongest neuron on half 0 measured on half 1, and how it agrees with the last one.

        The columns are those of `skilljobs.analysis.emergence.emergence`.

        Raises:
            InputError: a run has no such metric or population.
        """
        return emergence(self.members, metric, population, k)

    def conclusions(self, metric: str, population: str = ALL) -> list[str]:
        """What the series says about a metric, and what may mislead, in sentences; errors as `emergence`."""
        return series_conclusions(self.members, self.emergence(metric, population), metric, population)

    def draw(self, metrics: Sequence[str], population: str = ALL) -> "list[Figure]":
        """Draw r by model for each of `metrics`, and save the figures in the series' folder; errors as `emergence`."""
        from skilljobs.report.charts import save_figure
        from skilljobs.report.emergence_figure import emergence_figure
        from skilljobs.report.figures import safe_name
        from skilljobs.store.files import Folder

        drawn = []
        for metric in metrics:
            of = "" if population == ALL else f"-{safe_name(population)}"
            rows = self.emergence(metric, population)
            drawn.append(emergence_figure(rows, metric, population, f"emergence-{safe_name(metric)}{of}"))
        for figure in drawn:
            save_figure(figure, Folder(self.uri))
        return drawn

    def __repr__(self) -> str:
        return f"Series({self.uri!r}, {', '.join(member.label for member in self.members)})"


def sweep(
    models: Sequence[str | os.PathLike[str]] | str,
    *,
    revisions: Sequence[str] = (),
    name: str | None = None,
    out: str | os.PathLike[str] = OUT,
    replicas: int | None = None,
    gpus_per_replica: int | None = None,
    shard_timeout: float | None = None,
    address: str | None = None,
    report: bool = True,
    verify: bool = False,
    reporter: Reporter | None = None,
    debug: bool = False,
    on_done: Callable[[Run], None] = lambda run: None,
    **options: Unpack[SubmitOptions],
) -> Series:
    """Run the same job on several models, one after another, or resume what is not finished.

    Each model has its own run in `out`, which `submit` with the same options would find again, and its own soft prompt
    unless `soft_prompt` says otherwise.

    Args:
        models: ids or directories, or a pattern of directories (`run/step-*`), in the order of training.
        revisions: of the one model that `models` names, for example training checkpoints.
        name: of the series, which is a folder in `out`; by default the task, the models and a hash of the options.
        out, replicas, gpus_per_replica, shard_timeout, address, report, verify, reporter, debug, on_done: as for
            `submit_many`.
        options: those of every job.

    Raises:
        InputError: names the model that cannot be used, or the option; nothing was started.
        SomeJobsFailed: some jobs could not be finished; the others are, and the same call resumes. The last of its
            `uris` is the folder of the series.
    """
    from skilljobs.pipeline.series_jobs import options_of_checkpoints, record_of_series, store_series
    from skilljobs.pipeline.several_jobs import run_several
    from skilljobs.plan.call_arguments import check_flags, checked_out
    from skilljobs.plan.checkpoints_asked import checkpoints_asked

    reporter = reporter or suitable_reporter()
    check_flags({"report": report, "verify": verify, "debug": debug})
    address = driven_address(address, ONE_PROCESS)
    placement = Placement(address, replicas, gpus_per_replica, debug, shard_timeout)
    names = [os.fspath(model) for model in ([models] if isinstance(models, str | os.PathLike) else models)]
    asked = checkpoints_asked(names, [revisions] if isinstance(revisions, str) else revisions)
    folder = checked_out(out)
    checked = check_many(options_of_checkpoints(asked), options, folder, placement, reporter)
    record = record_of_series(asked, [one.job for one in checked], name)
    files = store_series(record, folder, reporter.note)
    try:
        run_several(checked, placement, report, verify, reporter, lambda uri: on_done(Run(uri)))
    except SomeJobsFailed as error:
        raise SomeJobsFailed(str(error), (*error.uris, files.uri)) from error
    return open_series(files.uri)


def open_series(uri: str | os.PathLike[str]) -> Series:
    """The series in the folder `uri`.

    Raises:
        InputError: there is no series there, or the run of a checkpoint is one of another model.
    """
    files = SeriesFiles(os.fspath(uri))
    record = files.read()
    members = [SeriesMember(one.label, Run(files.run_uri(one))) for one in record.checkpoints]
    for one, member in zip(record.checkpoints, members, strict=True):
        _refuse_other_model(record, one.label, one.model, one.revision, member)
    return Series(files.uri, members)


def series_of_runs(uris: Sequence[str]) -> Series:
    """Runs that are compared as a series, in this order: called after their models, or by their names if these repeat.

    Raises:
        InputError: there is no run at one of them.
    """
    runs = [open_run(uri) for uri in uris]
    labels = [run.record.job_spec.revision or run.record.model.name.rstrip("/").rpartition("/")[2] for run in runs]
    if len(set(labels)) < len(labels):
        labels = [run.record.run_id for run in runs]
    if len(set(labels)) < len(labels):
        labels = [run.uri for run in runs]
    if len(set(labels)) < len(labels):
        raise InputError("a run is named twice: compare takes different runs")
    return Series(runs[-1].uri, [SeriesMember(label, run) for label, run in zip(labels, runs, strict=True)])


def _refuse_other_model(
    record: SeriesRecord, label: str, model: str, revision: str | None, member: SeriesMember
) -> None:
    if not member.run.exists:
        return
    spec: Any = member.run.record.spec
    if (spec.get("model"), spec.get("revision")) != (model, revision):
        raise InputError(
            f"the run {member.run.uri} is not that of {label} in the series {record.name}: it is of the model"
            f" {spec.get('model')}"
        )
