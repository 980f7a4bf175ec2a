"""Which metrics a job correlates."""

from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np

from skilljobs.errors import InputError
from skilljobs.spec import JobSpec
from skilljobs.spill.spilled_column import SpilledColumn, named_columns
from skilljobs.stats.answers import CHOICE_ONLY_METRICS, DEFAULT_MODEL_METRICS, EXACT, MODEL_METRICS
from skilljobs.stats.layout import NULL, Metric
from skilljobs.stats.long_columns import Column
from skilljobs.stats.metric_traps import near_pairs, pairwise_r, rare_kind, yes_no_counts
from skilljobs.suggestions import did_you_mean, shortened
from skilljobs.tasks.base import Example, Task
from skilljobs.tasks.external_columns import blocks_of
from skilljobs.tasks.external_metrics import ExternalMetric, external_metrics
from skilljobs.tasks.right_answer import answer_metrics


def external_values(
    metrics: Sequence[ExternalMetric], examples: Iterable[Example], left_out: Collection[str] = ()
) -> dict[str, SpilledColumn[np.float64]]:
    """The values of each metric, by its name; NaN where an example lacks it. `left_out`: ids of examples."""
    found = named_columns((metric.name for metric in metrics), np.float64)
    for block in blocks_of(examples) if metrics else ():
        kept = np.array([example_id not in left_out for example_id in block.ids()], np.bool_) if left_out else None
        for metric in metrics:
            values = metric.values(block)
            found[metric.name].append(values if kept is None else values[kept])
    return found


def metric_traps(metrics: Sequence[Metric], values: Mapping[str, Column]) -> list[str]:
    """A sentence for each external metric with hardly any rows of one kind, and for each pair that is nearly the same.

    `values` has those of each external metric.
    """
    external = [metric for metric in metrics if metric.name in values]
    counts = {metric.name: yes_no_counts(values[metric.name]) for metric in external}
    rare = [kind for name, rows in counts.items() if rows and (kind := rare_kind(name, rows)) is not None]
    names = [metric.name for metric in external]
    r = pairwise_r([values[name] for name in names])

    def r_of(first: str, second: str) -> float | None:
        found = float(r[names.index(first), names.index(second)])
        return None if np.isnan(found) else found

    pairs = near_pairs(external, r_of)
    return [kind.sentence for kind in rare] + [pair.sentence for pair in pairs]


def refuse_own_names(metrics: Sequence[ExternalMetric], derived_names: Collection[str]) -> None:
    """Refuse columns that are named like a model-derived or a null metric.

    Raises:
        InputError: names the column.
    """
    for metric in metrics:
        if {metric.name, metric.column} & set(derived_names) or metric.name.startswith(NULL):
            raise InputError(f"the column {metric.column!r} has the name of one of skilljobs' own metrics: rename it")


def choose_metrics(
    spec: JobSpec, task: Task, test: Sequence[Example], open_ended: int
) -> tuple[tuple[ExternalMetric, ...], tuple[Metric, ...]]:
    """The external and the model-derived metrics that `spec` asks for.

    Args:
        open_ended: how many of `test` have no choices.

    Raises:
        InputError: a metric does not exist, or no neuron could know it.
    """
    external = external_metrics(test)
    external += answer_metrics(test, external)
    asked = (EXACT,) if EXACT in spec.metric else ()
    derived_names = (*MODEL_METRICS, *asked, *task.choice_probabilities)
    needs_choices = CHOICE_ONLY_METRICS | set(task.choice_probabilities)
    refuse_own_names(external, derived_names)
    undefined = needs_choices if open_ended == len(test) else frozenset()

    def model_metric(name: str) -> Metric:
        return Metric(name, "model", nullable=name in needs_choices and bool(open_ended))

    if not spec.metric:
        usual = (*DEFAULT_MODEL_METRICS, *task.choice_probabilities)
        return tuple(external), tuple(model_metric(name) for name in usual if name not in undefined)
    chosen: list[ExternalMetric] = []
    derived: list[Metric] = []
    for name in dict.fromkeys(spec.metric):
        matching = [metric for metric in external if name in (metric.name, metric.column)]
        if name in undefined:
            raise InputError(f"the metric {name!r} needs choices, and no example has any")
        if name in derived_names:
            derived.append(model_metric(name))
        elif spec.hide_choices and name in task.choice_metrics:
            raise InputError(
                f"the metric {name!r} is about the choices, and --hide-choices keeps them out of the text:"
                " no neuron before them could know it"
            )
        elif not matching:
            known = [
                *dict.fromkeys(metric.column for metric in external),
                *MODEL_METRICS,
                EXACT,
                *task.choice_probabilities,
            ]
            raise InputError(f"there is no metric {name!r}{did_you_mean(name, known)}; there are {shortened(known)}")
        else:
            chosen += [metric for metric in matching if metric not in chosen]
    return tuple(chosen), tuple(derived)
