"""What a job will do, worked out from its spec and data before anything heavy starts. Imports neither Ray nor torch."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skilljobs.engine.checks import check_lengths, check_prompt_source, check_sums_size, sums_bytes
from skilljobs.engine.data_options import task_options
from skilljobs.engine.job import Reading
from skilljobs.engine.sharding import sample, shard_examples
from skilljobs.errors import InputError
from skilljobs.hashing import stable_digest
from skilljobs.lm.source import ModelSource, find_model
from skilljobs.spec import JobSpec
from skilljobs.stats.answers import CHOICE_ONLY_METRICS, DEFAULT_MODEL_METRICS, MODEL_METRICS
from skilljobs.stats.layout import ALL, NULL, Layout, Metric
from skilljobs.stats.null import most_skewed, null_metrics
from skilljobs.tasks.base import Example, Task
from skilljobs.tasks.metrics import ExternalMetric, Population, check_columns, external_metrics, group_populations
from skilljobs.tasks.reading import BadRow, read_examples
from skilljobs.tasks.registry import find_task


@dataclass(frozen=True)
class JobPlan:
    """A job's examples, split and sharded, and the layout of its sums."""

    spec: JobSpec
    task: Task
    source: ModelSource
    train: list[Example]
    validation: list[Example]
    shards: list[list[Example]]
    """Test examples; a shard holds one half."""
    external: tuple[ExternalMetric, ...]
    populations: tuple[Population, ...]
    layout: Layout
    null_values: NDArray[np.float64] | None
    """What skewed null metrics are drawn from; None where no external metric is skewed."""
    prompt_length: int
    sums_bytes: int
    """Of a shard, before compression."""
    bad_rows: list[BadRow]

    @property
    def test(self) -> list[Example]:
        return [example for shard in self.shards for example in shard]

    @property
    def halves(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The shards of half 0 and of half 1."""
        first, second = (
            tuple(number for number, shard in enumerate(self.shards) if shard[0].half == half) for half in (0, 1)
        )
        return first, second

    @property
    def kept_tokens(self) -> int | None:
        """Tokens of each neuron in the sums; None where they are aggregated."""
        return max(1, self.prompt_length) if self.spec.tokens == "each" else None

    @property
    def reading(self) -> Reading:
        """What scorers read of every example."""
        return Reading(self.layout, self.external, self.populations, self.null_values, self.task.choice_probabilities)

    @property
    def units_repeat(self) -> bool:
        """Whether some test examples share a unit, so that p and q are optimistic."""
        test = self.test
        return len({example.unit for example in test}) < len(test)

    @cached_property
    def examples_digest(self) -> str:
        """Changes with any example, its split, its shard, or its place there."""
        parts = [
            json.dumps(
                [e.example_id, e.unit, e.split, e.text, e.choices, e.answer, e.target, dict(e.metrics)], sort_keys=True
            )
            for group in (self.train, self.validation, *self.shards)
            for e in group
        ]
        sizes = [len(self.train), len(self.validation), *map(len, self.shards)]
        return stable_digest(sizes, *parts, size=16).hex()


def plan_job(spec: JobSpec, texts: Sequence[Mapping[str, Any]] | None = None) -> JobPlan:
    """Read and check everything that `spec` names. `texts`: rows that were written and graded for it.

    Raises:
        InputError: something that it names does not exist, or does not fit the rest.
    """
    spec, task_class = with_model(spec)
    source = find_model(spec.model or "")
    prompt_length = check_prompt_source(spec, source)
    task = task_class(task_options(spec, task_class, texts))
    options = task.options
    examples, bad_rows = read_examples(task, spec.max_bad_rows)
    check_columns(examples)
    check_lengths(examples, source, prompt_length)
    by = spec.by or ((task.group,) if task.group else ())
    test = [example for example in examples if example.split == "test"]
    if len(test) < 4:
        raise InputError(f"{options.data or task.name} has {len(test)} test examples; a correlation needs 4 at least")
    groups = {column: group_populations(test, column) for column in dict.fromkeys(by)}
    test = sample(test, spec.limit, by[0] if by else None, spec.seed)
    external, model_metrics = choose_metrics(spec, task, test)
    null_values = most_skewed(external_values(external, test)) if spec.null else None
    layout = Layout(
        metrics=(
            *(Metric(metric.name, "external", metric.nullable) for metric in external),
            *model_metrics,
            *null_metrics(spec.null, skewed=null_values is not None),
        ),
        populations=(ALL, *(population.name for group in groups.values() for population in group)),
        groups={column: tuple(population.name for population in group) for column, group in groups.items()},
    )
    check_sums_size(layout, source, spec, prompt_length)
    plan = JobPlan(
        spec=spec,
        task=task,
        source=source,
        train=[example for example in examples if example.split == "train"],
        validation=[example for example in examples if example.split == "validation"],
        shards=shard_examples(test, spec.shard_size, spec.seed),
        external=external,
        populations=tuple(population for group in groups.values() for population in group),
        layout=layout,
        null_values=null_values,
        prompt_length=prompt_length,
        sums_bytes=sums_bytes(layout, source, spec, prompt_length),
        bad_rows=bad_rows,
    )
    if spec.soft_prompt is None and not (plan.train and plan.validation):
        raise InputError(
            f"{options.data or task.name} has {len(plan.train)} train and {len(plan.validation)} validation examples;"
            " tuning needs both (or --soft-prompt random, or a run or file to reuse)"
        )
    if spec.soft_prompt is None and spec.tune_loss == "choices":
        without = [example for example in plan.train + plan.validation if example.choices is None]
        if without:
            raise InputError(f"--tune-loss choices needs choices, and the example {without[0].example_id!r} has none")
    return plan


def with_model(spec: JobSpec) -> tuple[JobSpec, type[Task]]:
    """The spec with its model named, and the task.

    Raises:
        InputError: there is no such task, or no model is named and the task has none by default.
    """
    task = find_task(spec.task)
    model = spec.model or task.default_model
    if model is None:
        raise InputError(f"the task {task.name} needs a model: --model ID-or-DIR (or --model tiny to try it)")
    return replace(spec, model=model), task


def external_values(metrics: Sequence[ExternalMetric], examples: Sequence[Example]) -> dict[str, NDArray[np.float64]]:
    """The values of each metric, by its name; NaN where an example lacks it."""
    return {metric.name: np.array([metric.value(example) for example in examples]) for metric in metrics}


def choose_metrics(
    spec: JobSpec, task: Task, test: Sequence[Example]
) -> tuple[tuple[ExternalMetric, ...], tuple[Metric, ...]]:
    """The external and the model-derived metrics that `spec` asks for.

    Raises:
        InputError: a metric does not exist, or no neuron could know it.
    """
    external = external_metrics(test)
    derived_names = (*MODEL_METRICS, *task.choice_probabilities)
    of_choices = CHOICE_ONLY_METRICS | set(task.choice_probabilities)
    for metric in external:
        if {metric.name, metric.column} & set(derived_names) or metric.name.startswith(NULL):
            raise InputError(f"the column {metric.column!r} has the name of a metric of skilljobs' own: rename it")
    open_ended = [example for example in test if example.choices is None]
    undefined = of_choices if len(open_ended) == len(test) else frozenset()

    def model_metric(name: str) -> Metric:
        return Metric(name, "model", nullable=name in of_choices and bool(open_ended))

    if not spec.metric:
        usual = (*DEFAULT_MODEL_METRICS, *task.choice_probabilities)
        return tuple(external), tuple(model_metric(name) for name in usual if name not in undefined)
    chosen: list[ExternalMetric] = []
    derived: list[Metric] = []
    for name in dict.fromkeys(spec.metric):
        found = [metric for metric in external if name in (metric.name, metric.column)]
        if name in undefined:
            raise InputError(f"the metric {name!r} needs choices, and no example has any")
        if name in derived_names:
            derived.append(model_metric(name))
        elif spec.hide_choices and name in task.choice_metrics:
            raise InputError(
                f"the metric {name!r} is about the choices, and --hide-choices keeps them out of the text:"
                " no neuron in front of them could know it"
            )
        elif not found:
            known = [*dict.fromkeys(metric.column for metric in external), *derived_names]
            raise InputError(f"there is no metric {name!r}; there are {', '.join(known)}")
        else:
            chosen += [metric for metric in found if metric not in chosen]
    return tuple(chosen), tuple(derived)
