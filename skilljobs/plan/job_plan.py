"""What a job will do, worked out from its spec and data before anything heavy starts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skilljobs.checkpoints.checkpoint import check_weight_files
from skilljobs.checkpoints.neuron_count import neurons_read
from skilljobs.checkpoints.source import ModelSource
from skilljobs.checkpoints.tokenizer_files import check_tokenizer_files
from skilljobs.errors import InputError
from skilljobs.plan.checks import check_sums_size, shard_sums_size, too_long
from skilljobs.plan.chosen_model import chosen_model
from skilljobs.plan.data_options import make_task, resolve_spec
from skilljobs.plan.example_drawing import draw_examples
from skilljobs.plan.example_views import ExampleView
from skilljobs.plan.like_run import LikeRun
from skilljobs.plan.masked_models import LabelReader, refuse_for_masked, set_unreadable_aside
from skilljobs.plan.metric_choice import choose_metrics, external_values, metric_traps
from skilljobs.plan.partition import Partition, PartView
from skilljobs.plan.prompt_format import ChatReader, PromptFormat, format_examples
from skilljobs.plan.reading import read_rows
from skilljobs.plan.reused_prompt import planned_prompt_length
from skilljobs.plan.row_reader import BadRow, RowView
from skilljobs.plan.work import Reading
from skilljobs.spec import JobSpec
from skilljobs.stats.layout import ALL, Layout, Metric
from skilljobs.stats.long_columns import Column
from skilljobs.stats.null import most_skewed, null_metrics
from skilljobs.stats.predictivity import PREDICTIVITY, yes_no_metrics
from skilljobs.tasks.base import SPLITS, Task
from skilljobs.tasks.columns import ColumnReport, report_columns
from skilljobs.tasks.external_kinds import check_columns, check_names
from skilljobs.tasks.external_metrics import ExternalMetric, Population, group_populations
from skilljobs.tasks.text_task import TextTask


@dataclass(frozen=True)
class JobPlan:
    """A job's examples, split and sharded, and the layout of its sums."""

    spec: JobSpec
    task: Task
    source: ModelSource
    train: ExampleView
    validation: ExampleView
    tuned_on_of: tuple[int, int]
    """How many train and validation examples the data have; with `--limit` fewer are used."""
    shards: Sequence[PartView]
    """The test examples. All examples of a shard are of one half."""
    examples: Partition
    """All of these examples, which are read from here when they are asked for."""
    units_repeat: bool
    """Whether some test examples share a unit, so that p and q are too small."""
    external: tuple[ExternalMetric, ...]
    populations: tuple[Population, ...]
    layout: Layout
    yes_no: tuple[str, ...]
    """The metrics whose predictivity is asked for."""
    null_values: NDArray[np.float64] | None
    """The values that skewed null metrics are drawn from; None if no external metric is skewed."""
    prompt_length: int
    sums_size: int
    """Bytes of a shard's sums before compression."""
    bad_rows: list[BadRow]
    columns: ColumnReport
    """What became of every column of the data."""
    traps: list[str]
    """What may mislead in the external metrics, in sentences."""
    prompt_format: PromptFormat
    """What was put around the texts of the data."""
    like: LikeRun | None = None
    """The finished run that the job adds metrics to."""

    @property
    def test(self) -> ExampleView:
        return self.examples.joined(self.shards)

    @property
    def halves(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The shards of half 0 and of half 1."""
        first, second = (
            tuple(number for number, shard in enumerate(self.shards) if shard.half == half) for half in (0, 1)
        )
        return first, second

    @property
    def shard_size(self) -> int:
        """The examples of a shard that is full."""
        return max(map(len, self.shards))

    @property
    def is_tuned(self) -> bool:
        """Whether the soft prompt is tuned, and not reused or a baseline."""
        return self.spec.soft_prompt is None and self.like is None

    @property
    def kept_tokens(self) -> int | None:
        """Prompt positions that the sums keep for each neuron; None if they are aggregated."""
        return max(1, self.prompt_length) if self.spec.tokens == "each" else None

    def check_neurons(self, count: int) -> None:
        """Check the size of the sums once it is known that `count` neurons are read, if the model's files did not tell.

        Raises:
            InputError: they are above `--max-sums-gb`.
        """
        if self.sums_size == 0:
            size = shard_sums_size(self.layout, self.yes_no, count, self.spec, self.prompt_length)
            check_sums_size(size, self.spec)

    @property
    def reading(self) -> Reading:
        """What scorers read from every example."""
        return Reading(
            self.layout,
            self.external,
            self.populations,
            self.null_values,
            self.task.choice_probabilities,
            self.yes_no,
        )

    @property
    def examples_digest(self) -> str:
        """A digest that changes with any example, its split, its shard, or its place in the shard."""
        return self.examples.digest([len(self.train), len(self.validation), *map(len, self.shards)])


def plan_job(
    spec: JobSpec,
    texts: Sequence[Mapping[str, Any]] | None = None,
    read_chat: ChatReader | None = None,
    read_labels: LabelReader | None = None,
    shard_size: int | None = None,
) -> JobPlan:
    """Read and check everything that `spec` names.

    Args:
        texts: rows that were written and graded for the job, where its task is a `TextTask`.
        read_chat: reads a model's chat template; needed for `--chat`.
        read_labels: reads a model's label words; needed for masked language models.
        shard_size: that of a shard, unless `spec` gives it; None for the default by the number of examples.

    Raises:
        InputError: something that it names does not exist, or does not fit the rest.
    """
    spec, _ = resolve_spec(spec)
    source = chosen_model(spec)
    check_weight_files(source)
    check_tokenizer_files(source)
    prompt_length = planned_prompt_length(spec, source)
    task = make_task(spec)
    if isinstance(task, TextTask):
        task.texts = texts
    refuse_for_masked(spec, task, source)
    data_name = task.options.place or task.name
    reader = read_rows(task)
    prompt_format = format_examples(spec, task, source, reader, read_chat)
    set_unreadable_aside(source, reader, read_labels)
    reader.quarantine(too_long(reader.examples, source, prompt_length, texts_are_complete=spec.chat))
    reader.refuse_too_many_bad(spec.max_bad_rows)
    if reader.kinds.may_be_refused:
        check_columns(reader.examples)
    check_names(reader.examples.external_columns())
    by = spec.by or ((task.group,) if task.group else ())
    counts = {split: len(reader.rows_of(split)) for split in SPLITS}
    if counts["test"] < 4:
        raise InputError(f"{data_name} has {counts['test']} test examples; a correlation needs at least 4")
    drawn = draw_examples(spec, reader, task.group, shard_size)
    whole_test = RowView(reader, reader.rows_of("test"))
    groups = {column: group_populations(whole_test, column) for column in dict.fromkeys(by)}
    test = drawn.test
    external, model_metrics = choose_metrics(spec, task, test, drawn.open_ended)
    values = external_values(external, drawn.tested_rows)
    drawn.put_in_sampled_order(values)
    null_values = most_skewed(values) if spec.null else None
    layout = Layout(
        metrics=(
            *(Metric(m.name, "external", m.nullable, m.column, m.level) for m in external),
            *model_metrics,
            *null_metrics(spec.null, skewed=null_values is not None),
        ),
        populations=(ALL, *(population.name for group in groups.values() for population in group)),
        groups={column: tuple(population.name for population in group) for column, group in groups.items()},
    )
    yes_no = asked_yes_no(spec, layout, values)
    sums_size = shard_sums_size(layout, yes_no, neurons_read(source, spec.selection), spec, prompt_length)
    check_sums_size(sums_size, spec)
    plan = JobPlan(
        spec=spec,
        task=task,
        source=source,
        train=drawn.train,
        validation=drawn.validation,
        tuned_on_of=(counts["train"], counts["validation"]),
        shards=drawn.shards,
        examples=drawn.examples,
        units_repeat=drawn.units_repeat,
        external=external,
        populations=tuple(population for group in groups.values() for population in group),
        layout=layout,
        yes_no=yes_no,
        null_values=null_values,
        prompt_length=prompt_length,
        sums_size=sums_size,
        bad_rows=reader.bad,
        columns=report_columns(task, list(reader.columns), test, external),
        traps=metric_traps(layout.metrics, values),
        prompt_format=prompt_format,
    )
    if yes_no and not plan.train:
        raise InputError(f"{data_name} has no train examples, whose mean activations --statistic predictivity needs")
    if spec.soft_prompt is None:
        _check_tuning(plan, str(data_name))
    return plan


def asked_yes_no(spec: JobSpec, layout: Layout, values: Mapping[str, Column]) -> tuple[str, ...]:
    """The metrics whose predictivity `spec` asks for; `values` has those of each external metric.

    Raises:
        InputError: it asks for predictivity, and no metric is yes or no.
    """
    if spec.statistic != PREDICTIVITY:
        return ()
    found = yes_no_metrics(layout, values)
    if not found:
        raise InputError("--statistic predictivity is about yes/no metrics, and none of the job's is one")
    return found


def _check_tuning(plan: JobPlan, data_name: str) -> None:
    if not (plan.train and plan.validation):
        raise InputError(
            f"{data_name} has {len(plan.train)} train and {len(plan.validation)} validation examples;"
            " tuning needs both (or --soft-prompt random, or a run or file to reuse)"
        )
    if plan.spec.tune_loss == "choices":
        for chunk in chain(plan.train.blocks(), plan.validation.blocks()):
            without = np.flatnonzero(~chunk.has_choices)
            if len(without):
                first = chunk.ids()[without[0]]
                raise InputError(f"--tune-loss choices needs choices, and the example {first!r} has none")
