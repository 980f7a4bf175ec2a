"""The external columns of examples, and their values column by column."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast, runtime_checkable

from skilljobs.tasks.base import ANSWER, SINGLE_VALUES, Example, MetricValue, choice_names

STORED = ("example_id", "split", "unit", "half", "text", "choices", "answer", "target")
"""What is stored of an example beside its external columns."""


def level_metric_name(column: str, level: str) -> str:
    """Return the name of the metric or population for one level of a column."""
    return f"{column}={level}"


@dataclass(frozen=True, slots=True)
class ExternalColumn:
    """A column of the examples, or the entry `key` of a column that holds several named values."""

    column: str
    key: str | None = None

    @property
    def name(self) -> str:
        """The name of the column in the stored examples."""
        return self.column if self.key is None else level_metric_name(self.column, self.key)

    def value(self, example: Example) -> MetricValue:
        """Return the example's value in this column, or None if it has none.

        The value of the column `choices` is the number of choices, and that of `answer` the name of the right one.
        """
        if self.column == ANSWER and self.key is None:
            return None if example.choices is None else choice_names(example.choices)[example.answer or 0]
        if self.column == "choices":
            return None if example.choices is None else len(example.choices)
        entry = example.metrics.get(self.column)
        if type(entry) in SINGLE_VALUES or not isinstance(entry, Mapping):
            return cast("MetricValue", entry) if self.key is None else None
        return None if self.key is None else entry.get(self.key)


class Block(Protocol):
    """Some examples, and their values column by column."""

    def __len__(self) -> int: ...

    @property
    def examples(self) -> Sequence[Example]:
        """The examples one by one."""
        ...

    def ids(self) -> Sequence[str]:
        """The ids of the examples."""
        ...

    @property
    def choices(self) -> Sequence[Sequence[str] | None]:
        """The choices of each example."""
        ...

    def fixed_columns(self) -> Mapping[str, Any]:
        """`example_id`, `split`, `unit`, `half`, `text`, `choices`, `answer` and `target` of the examples."""
        ...

    def columns(self) -> list[ExternalColumn]:
        """The external columns of the examples, in the order of their first appearance."""
        ...

    def values(self, source: ExternalColumn) -> Sequence[MetricValue]:
        """The value of each example in an external column; None where it has none."""
        ...


@dataclass(frozen=True)
class ListBlock:
    """A list of examples as a block."""

    examples: Sequence[Example]

    def __len__(self) -> int:
        return len(self.examples)

    def ids(self) -> Sequence[str]:
        return [example.example_id for example in self.examples]

    @property
    def choices(self) -> Sequence[Sequence[str] | None]:
        return [example.choices for example in self.examples]

    def fixed_columns(self) -> Mapping[str, Any]:
        return {name: [getattr(example, name) for example in self.examples] for name in STORED}

    def columns(self) -> list[ExternalColumn]:
        found: dict[tuple[str, str | None], None] = {}
        for example in self.examples:
            for column, entry in example.metrics.items():
                if type(entry) in SINGLE_VALUES or not isinstance(entry, Mapping):
                    found[column, None] = None
                else:
                    found.update(dict.fromkeys((column, key) for key in entry))
        return [ExternalColumn(column, key) for column, key in found]

    def values(self, source: ExternalColumn) -> Sequence[MetricValue]:
        return [source.value(example) for example in self.examples]


@runtime_checkable
class InBlocks(Protocol):
    """Examples that are not held, but can be read block by block."""

    def blocks(self) -> Iterable[Block]:
        """The examples in their order."""
        ...

    def external_columns(self) -> list[ExternalColumn]:
        """Their external columns, in the order of their first appearance."""
        ...


def blocks_of(examples: Iterable[Example]) -> Iterable[Block]:
    """The examples as blocks: one of all, if they are held."""
    return examples.blocks() if isinstance(examples, InBlocks) else [ListBlock(list(examples))]


def external_columns(examples: Iterable[Example]) -> list[ExternalColumn]:
    """Return the external columns of a data set, in the order of their first appearance."""
    return examples.external_columns() if isinstance(examples, InBlocks) else ListBlock(list(examples)).columns()
