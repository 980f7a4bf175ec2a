"""The plan of a job that adds metrics to a finished run: its examples and metrics as they are, and the new ones."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from skilljobs.checkpoints.checkpoint import check_weight_files
from skilljobs.checkpoints.neuron_count import neurons_read
from skilljobs.checkpoints.tokenizer_files import check_tokenizer_files
from skilljobs.errors import InputError
from skilljobs.plan.checks import check_sums_size, shard_sums_size
from skilljobs.plan.finished_run import answer_end_of, same_model
from skilljobs.plan.job_plan import JobPlan, asked_yes_no
from skilljobs.plan.like_run import LikeRun, check_repeatable, find_run
from skilljobs.plan.metric_choice import external_values, metric_traps, refuse_own_names
from skilljobs.plan.partition import Partition
from skilljobs.plan.prompt_format import PromptFormat
from skilljobs.plan.reused_prompt import planned_prompt_length
from skilljobs.plan.row_reader import BadRow
from skilljobs.printable import counted
from skilljobs.spec import NO_PROMPT, JobSpec
from skilljobs.stats.answers import EXACT, MODEL_METRICS
from skilljobs.stats.layout import NULL_SKEWED, Layout, Metric
from skilljobs.stats.null import most_skewed, null_metrics
from skilljobs.store.examples import examples_from
from skilljobs.store.reader import RunReader
from skilljobs.store.record import RunRecord
from skilljobs.store.run import TUNING_EXAMPLES_NAME, RunFiles
from skilljobs.store.schema import EXAMPLE_FIXED
from skilljobs.store.shards import examples_name
from skilljobs.suggestions import shortened
from skilljobs.tasks.base import Example
from skilljobs.tasks.columns import ColumnReport, report_columns
from skilljobs.tasks.external_columns import ExternalColumn, external_columns
from skilljobs.tasks.external_kinds import check_columns
from skilljobs.tasks.external_metrics import ExternalMetric, Population, external_metrics
from skilljobs.tasks.metric_file import MetricFile, read_metric_file
from skilljobs.tasks.registry import find_task
from skilljobs.tasks.row_files import is_on_hub
from skilljobs.tasks.table import Table
from skilljobs.tasks.text_files import check_file


@dataclass(frozen=True)
class _Stored:
    """The examples of a run, shard by shard, and those it was tuned on."""

    shards: list[list[Example]]
    tuning: list[Example]

    @property
    def test(self) -> list[Example]:
        return [example for shard in self.shards for example in shard]


def plan_added_metrics(spec: JobSpec) -> JobPlan:
    """Read and check everything about adding the metrics of `spec.metrics_from` to the run `spec.like`.

    Raises:
        InputError: the run cannot be read again as it was, or the file's rows or columns do not fit it.
    """
    files = find_run(str(spec.like))
    check_repeatable(files)
    record, layout = files.record, RunReader(files.uri).layout()
    source = same_model(record, spec.trust_remote_code)
    check_weight_files(source)
    check_tokenizer_files(source)
    stored = _read_examples(files, len(record.shards))
    path = Path(os.path.expanduser(str(spec.metrics_from)))
    if not is_on_hub(path):
        check_file(path)
    table = read_metric_file(path)
    task = find_task(record.job_spec.task)
    _refuse_known_columns(table, stored, layout)
    notes = _compare_rows(table, stored, record)
    old = tuple(_external_metric(metric, stored.test) for metric in layout.metrics if metric.kind == "external")
    added = _added_metrics(table, stored.test)
    refuse_own_names(added, {*MODEL_METRICS, EXACT, *task.choice_probabilities})
    _refuse_known_metrics(table, added, layout)
    shards = [[_with_metrics(example, table) for example in shard] for shard in stored.shards]
    tuning = [_with_metrics(example, table) for example in stored.tuning]
    test = [example for shard in shards for example in shard]
    check_columns(test + tuning)
    new_columns = _column_report(table, added, stored.test)

    # the null metrics of the run stay as they are; skewed ones are added if it has none and needs some now
    null_values = most_skewed(external_values(old, stored.test)) if spec.null else None
    more_nulls: list[Metric] = []
    if spec.null and null_values is None:
        null_values = most_skewed(external_values(added, test))
        if null_values is not None:
            more_nulls = [m for m in null_metrics(spec.null, skewed=True) if m.name.startswith(NULL_SKEWED)]
    kinds = {kind: [m for m in layout.metrics if m.kind == kind] for kind in ("external", "model", "null")}
    new = [Metric(m.name, "external", m.nullable, m.column, m.level) for m in added]
    layout = Layout(
        (*kinds["external"], *new, *kinds["model"], *kinds["null"], *more_nulls), layout.populations, layout.groups
    )
    external = (*old, *added)
    values = external_values(external, test)
    yes_no = asked_yes_no(spec, layout, values)
    prompt = spec if spec.soft_prompt == NO_PROMPT else replace(spec, soft_prompt=files.uri)
    prompt_length = planned_prompt_length(prompt, source)
    sums_size = shard_sums_size(layout, yes_no, neurons_read(source, spec.selection), spec, prompt_length)
    check_sums_size(sums_size, spec)
    of_split = {split: [example for example in tuning if example.split == split] for split in ("train", "validation")}
    groups = [*of_split.values(), *shards]
    examples = Partition.of(groups)
    train, validation, *shard_views = examples.views(list(map(len, groups)))
    return JobPlan(
        spec=spec,
        task=task(task.options_type(seed=spec.seed, **spec.own)),
        source=source,
        train=train,
        validation=validation,
        tuned_on_of=(record.examples.train, record.examples.validation),
        shards=shard_views,
        examples=examples,
        units_repeat=len({example.unit for example in test}) < len(test),
        external=external,
        populations=tuple(_population(name, column, test) for column, of in layout.groups.items() for name in of),
        layout=layout,
        yes_no=yes_no,
        null_values=null_values,
        prompt_length=prompt_length,
        sums_size=sums_size,
        bad_rows=[BadRow(row.source, row.row, row.reason) for row in record.quarantined],
        columns=_joined_report(record, new_columns),
        traps=metric_traps(layout.metrics, values),
        prompt_format=PromptFormat((), answer_end_of(record)),
        like=LikeRun(files, new_columns, notes),
    )


def _read_examples(files: RunFiles, shards: int) -> _Stored:
    read = [examples_from(files.folder.read(examples_name(shard))) for shard in range(shards)]
    return _Stored(read, examples_from(files.folder.read(TUNING_EXAMPLES_NAME)))


def _with_metrics(example: Example, table: MetricFile) -> Example:
    return replace(example, metrics={**example.metrics, **table.rows.get(example.example_id, {})})


def _added_metrics(table: MetricFile, test: Sequence[Example]) -> list[ExternalMetric]:
    """The metrics of the file, nullable where it lacks a test example or its value.

    Raises:
        InputError: it makes none, or two of one name.
    """
    added = external_metrics(_alone(table, test))
    if not added:
        reasons = report_columns(_reporting(table), [], _alone(table, test), []).ignored
        told = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
        raise InputError(f"{table.path}: no column makes a metric ({told})")
    return added


def _alone(table: MetricFile, test: Sequence[Example]) -> list[Example]:
    """The test examples with the new metrics alone."""
    return [replace(example, metrics=table.rows.get(example.example_id, {})) for example in test]


def _refuse_known_columns(table: MetricFile, stored: _Stored, layout: Layout) -> None:
    examples = stored.test + stored.tuning
    known = {*EXAMPLE_FIXED.names} | {source.column for source in external_columns(examples)}
    known |= {metric.column or metric.name for metric in layout.metrics}
    twice = [name for name in table.columns if name in known]
    if twice:
        raise InputError(
            f"{table.path}: the run has {shortened(twice)} already: leave such columns out, or rename those that are"
            " new metrics"
        )


def _refuse_known_metrics(table: MetricFile, added: Sequence[ExternalMetric], layout: Layout) -> None:
    known = {metric.name for metric in layout.metrics} | set(layout.populations)
    for metric in added:
        if metric.name in known:
            raise InputError(f"{table.path}: the run has a metric {metric.name!r} already: rename {metric.column!r}")


def _compare_rows(table: MetricFile, stored: _Stored, record: RunRecord) -> tuple[str, ...]:
    """What the file's rows lack of the run's examples, and what they have beside these, in sentences.

    Raises:
        InputError: no row is of a test example; or some are of no example at all, of a run that keeps all of its data.
    """
    test, tuning = ({e.example_id for e in examples} for examples in (stored.test, stored.tuning))
    missing = [e.example_id for e in stored.test if e.example_id not in table.rows]
    unknown = [example_id for example_id in table.rows if example_id not in test and example_id not in tuning]
    if len(missing) == len(test):
        raise InputError(
            f"{table.path}: none of its {counted(len(table.rows), 'row')} is of a test example of the run, whose ids"
            f" are like {missing[0]!r}; its own are like {next(iter(table.rows))!r}"
        )
    spec = record.job_spec
    if unknown and spec.limit is None and not spec.few_shot and not record.quarantined:
        raise InputError(
            f"{table.path}: {counted(len(unknown), 'row')} of it ({unknown[0]!r} the first) are of no example of the"
            " run's data: where some ids do not fit, others may be of other examples than meant"
        )
    notes = []
    if missing:
        notes.append(
            f"{table.path} has no row for {len(missing):,} of {len(test):,} test examples ({missing[0]!r} the first):"
            " the new metrics are null there"
        )
    if unknown:
        notes.append(
            f"{counted(len(unknown), 'row')} of {table.path} are of examples that the run left out ({unknown[0]!r} the"
            " first)"
        )
    return tuple(notes)


def _external_metric(metric: Metric, test: Sequence[Example]) -> ExternalMetric:
    """A metric of the run as it is read from its examples."""
    column = str(metric.column)
    entry = ExternalColumn(column, metric.level)
    source = entry if metric.level is not None and entry in external_columns(test) else ExternalColumn(column)
    return ExternalMetric(source, metric.level, metric.nullable)


def _population(name: str, column: str, test: Sequence[Example]) -> Population:
    source = next(source for source in external_columns(test) if source.name == column)
    return Population(source, name.removeprefix(f"{column}="))


def _reporting(table: MetricFile) -> Table:
    task = Table()
    task.ignored_columns = dict(table.ignored)
    return task


def _column_report(table: MetricFile, added: Sequence[ExternalMetric], test: Sequence[Example]) -> ColumnReport:
    return report_columns(_reporting(table), [], _alone(table, test), added)


def _joined_report(record: RunRecord, new: ColumnReport) -> ColumnReport:
    """What became of the columns of the run's data and of the new ones."""
    old = record.columns
    return ColumnReport(
        old.fields,
        (*old.metrics, *new.metrics),
        new.nullable,
        {**old.one_hot, **new.one_hot},
        {**old.ignored, **new.ignored},
    )
