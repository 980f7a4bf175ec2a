"""What became of every column of a data set: no column is lost without a word."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from skilljobs.tasks.base import ANSWER, Example, Task
from skilljobs.tasks.external_columns import external_columns
from skilljobs.tasks.external_metrics import MOST_LEVELS, ColumnSummary, ExternalMetric, summarise


@dataclass(frozen=True)
class ColumnReport:
    """Every column of the rows is a field of an example, makes metrics, or is ignored for a reason."""

    fields: tuple[str, ...]
    metrics: tuple[str, ...]
    nullable: frozenset[str]
    """Those of `metrics` that some examples lack."""
    one_hot: Mapping[str, int]
    """How many metrics a column makes, of each category or set of named values."""
    ignored: Mapping[str, str]
    """Why a column makes no metric."""
    right_answer: tuple[str, ...] = ()
    """The metrics that the right answer makes, where the choices are the same in all examples."""

    @property
    def line(self) -> str:
        """The report in one line."""
        parts = {
            "fields": list(self.fields),
            "metrics": [f"{name} (nullable)" if name in self.nullable else name for name in self.metrics],
            "one-hot": [f"{name} ({count})" for name, count in self.one_hot.items()],
            "the right answer, as the choices are the same in all rows": list(self.right_answer),
            "ignored": [f"{name} ({reason})" for name, reason in self.ignored.items()],
        }
        return "; ".join(f"{kind}: {', '.join(names)}" for kind, names in parts.items() if names)


def report_columns(
    task: Task, seen: Collection[str], examples: Sequence[Example], chosen: Sequence[ExternalMetric]
) -> ColumnReport:
    """Report on the columns of the rows, `seen`, and on those that the task adds to its examples.

    `chosen` are the external metrics that are correlated.
    """
    one_hot: dict[str, int] = {}
    metrics: list[str] = []
    ignored = dict(task.ignored_columns)
    unused = []
    for source in external_columns(examples):
        made = [metric for metric in chosen if metric.column == source.column]
        if any(metric.level is not None for metric in made):
            one_hot[source.column] = len(made)
        elif made:
            metrics.append(source.column)
        elif source.column not in ignored:
            unused.append(source)
    for source, summary in summarise(examples, unused).items():
        ignored.setdefault(source.column, _reason(summary))
    known = {*one_hot, *metrics, *ignored}
    fields = tuple(name for name in seen if name not in known and (task.fields is None or name in task.fields))
    if task.fields is not None:
        ignored |= {name: "not used by the task" for name in seen if name not in known and name not in fields}
    nullable = frozenset(metric.column for metric in chosen if metric.nullable)
    right_answer = tuple(metric.name for metric in chosen if metric.column == ANSWER)
    return ColumnReport(fields, tuple(metrics), nullable, one_hot, ignored, right_answer)


def _reason(summary: ColumnSummary) -> str:
    if not summary.present:
        return "empty"
    texts = summary.texts
    if texts == 1 and summary.levels:
        return "constant"
    if texts > MOST_LEVELS:
        return f"text, {texts} values"
    return "not asked for"
