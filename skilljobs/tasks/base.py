"""What a task is: where its examples come from and how one row becomes an example.

This module does not depend on models, on the files of a run, or on Ray.
"""

import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from skilljobs.hashing import stable_uniform
from skilljobs.options import Option, declared_options

SPLITS = ("train", "validation", "test")
ANSWER = "answer"
"""The column that the right answer is read from, where it is a metric."""
PLACES = frozenset({"example_id", "split", "unit", "half", "text", ANSWER, "target"})
"""The columns of stored examples that no metric can be named after."""
TRAIN_FRACTION, VALIDATION_FRACTION = 0.5, 0.1

LARGEST_VALUE = 1e100
"""The largest absolute value of a metric: sums of squares, and cubes for the skewness, must stay finite."""

MetricValue = float | int | bool | str | None
SINGLE_VALUES = frozenset({float, int, bool, str, type(None)})
"""Types of values that are not several. To ask for these is much faster than to ask whether something is a mapping."""
MetricValues = Mapping[str, MetricValue | Mapping[str, MetricValue]]


def split_of(unit: str) -> str:
    """Return the split of a unit.

    The split is a pure function of the unit's name, so no seed, file or run moves a unit to another split.
    """
    position = stable_uniform("split", unit)
    if position < TRAIN_FRACTION:
        return "train"
    return "validation" if position < TRAIN_FRACTION + VALIDATION_FRACTION else "test"


def tuning_split_of(unit: str) -> str:
    """Return the split of a unit that is used for tuning only.

    It is `train` or `validation`, in the same proportion to each other as in `split_of`.
    """
    share = VALIDATION_FRACTION / (TRAIN_FRACTION + VALIDATION_FRACTION)
    return "validation" if stable_uniform("split", unit) < share else "train"


def half_of(unit: str) -> int:
    """Return the half (0 or 1) of a unit, which is independent of its split."""
    return int(stable_uniform("half", unit) < 0.5)


@dataclass(frozen=True, slots=True)
class Example:
    """One row of a task, ready to be evaluated by a model.

    `text` is exactly what is tokenized before the soft prompt. An example has either `choices` and `answer` (the index
    of the right choice) or `target`; each choice, like the target, is exactly what follows the soft prompt. `metrics`
    maps each external column to its value. A column that holds several named values (for example, the skills of a
    text) maps to a mapping, and each of its values becomes a metric `column=name`.
    """

    example_id: str
    unit: str
    split: str
    text: str
    choices: tuple[str, ...] | None = None
    answer: int | None = None
    target: str | None = None
    metrics: MetricValues = field(default_factory=dict)

    @property
    def half(self) -> int:
        """The half of the example's unit."""
        return half_of(self.unit)

    @property
    def answer_text(self) -> str:
        """The right continuation: the right choice, or the target."""
        if self.choices is not None and self.answer is not None:
            return self.choices[self.answer]
        assert self.target is not None
        return self.target


def choice_names(choices: Sequence[str]) -> list[str]:
    """Return the choices as they are named in metrics.

    White space at their ends is left out, unless that would leave nothing of one or make two the same.
    """
    names = [choice.strip() for choice in choices]
    return names if all(names) and len(set(names)) == len(names) else list(choices)


def check_example(example: Example) -> Example:
    """Return `example` if it can be evaluated.

    Raises:
        ValueError: the example cannot be evaluated; the message gives the reason. `UnicodeEncodeError`, which is a
            ValueError, is raised for a text that cannot be encoded.
    """
    if not example.text:
        raise ValueError("`text` is empty")
    for text in (example.text, example.example_id, example.unit, *(example.choices or ()), example.target or ""):
        text.encode()
    for column, entry in example.metrics.items():
        column.encode()
        if entry is None or type(entry) is bool or (type(entry) is float and -LARGEST_VALUE <= entry <= LARGEST_VALUE):
            continue
        if isinstance(entry, Mapping):
            "".join(entry).encode()
        for value in entry.values() if isinstance(entry, Mapping) else (entry,):
            if isinstance(value, str):
                value.encode()
            if not isinstance(value, bool | int | float | str | None):
                raise ValueError(f"`{column}` is {value!r}, which is neither a number, a bool nor a text")
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError(f"`{column}` is {value}, which is not a finite number (a missing value is None)")
            if isinstance(value, int) and not -(2**63) <= value < 2**63:
                raise ValueError(f"`{column}` is {value}, which is beyond 64 bits")
            if isinstance(value, float) and abs(value) > LARGEST_VALUE:
                raise ValueError(f"`{column}` is {value}, which is too large to be squared")
    if example.split not in SPLITS:
        raise ValueError(f"`split` is {example.split!r}, which is not one of {', '.join(SPLITS)}")
    if example.choices is None:
        if not example.target:
            raise ValueError("it has neither `choices` with `answer` nor a non-empty `target`")
        if example.answer is not None:
            raise ValueError(f"it has an `answer`, {example.answer}, but no `choices`")
        return example
    if example.answer is None:
        raise ValueError("it has `choices` but no `answer`")
    if len(example.choices) < 2:
        raise ValueError(f"it has {len(example.choices)} choices, but it needs at least two")
    if not all(example.choices):
        raise ValueError("one of its `choices` is empty")
    repeated = next((choice for choice, count in Counter(example.choices).items() if count > 1), None)
    if repeated is not None:
        raise ValueError(f"two of its `choices` are the same: {repeated!r}")
    if not 0 <= example.answer < len(example.choices):
        raise ValueError(f"`answer` is {example.answer}, out of range for {len(example.choices)} choices")
    return example


@dataclass(frozen=True)
class TaskOptions:
    """The options about a task's data that every task has.

    A task declares its own options as further fields of a subclass, each made by `skilljobs.option`. The command line,
    the Python API and the stored spec read them from that declaration.
    """

    data: Path | None = None
    """The file of `--data`, or the name of a data set on the hub."""
    train_data: Path | None = None
    data_uri: str | None = None
    """The URI of `--data`, which tables can be read from; `data` is None then."""
    train_data_uri: str | None = None
    seed: int = 0
    hide_choices: bool = False
    template: str | None = None
    unit_column: str | None = None

    @property
    def place(self) -> Path | str | None:
        """Where `--data` are: a file, or a URI as text."""
        return self.data_uri or self.data

    @property
    def training_place(self) -> Path | str | None:
        """Where `--train-data` are, likewise."""
        return self.train_data_uri or self.train_data


class Task(ABC):
    """A named evaluation data set with its template and external metrics.

    Subclasses implement `rows` and `example`.
    """

    name: ClassVar[str]
    options_type: ClassVar[type[TaskOptions]] = TaskOptions
    group: str | None = None
    """The column whose values become the default populations."""
    default_model: ClassVar[str | None] = None
    answer_end: ClassVar[str | None] = None
    """The text that ends every answer, or None for the tokenizer's end-of-sequence token."""
    choice_metrics: ClassVar[frozenset[str]] = frozenset()
    """External metrics about the choices. No neuron can carry them when the choices are not in `text`."""
    choice_probabilities: ClassVar[Mapping[str, int]] = {}
    """The task's own model-derived metrics, as name and index.

    Each is the probability of the choice at its index, which is the same in all examples.
    """
    accepts: ClassVar[frozenset[str]] = frozenset({"hide_choices", "template", "unit"})
    """Which of the options `hide_choices`, `template`, `unit`, `train_data` the task uses. The others are rejected."""
    fields: frozenset[str] | None = None
    """The columns of a row that the task uses; None if it does not say, so that no other column is reported."""
    split_column: str = "split"
    """The column in which a row may name its split."""

    def __init__(self, options: TaskOptions | None = None) -> None:
        self.options = options or self.options_type()
        self.ignored_columns: dict[str, str] = {}
        """Columns of the rows that make no metric, and why, as far as that shows when examples are made."""

    @property
    def source(self) -> str:
        """Where the rows are read from, as messages call it."""
        return str(self.options.place or f"the task {self.name}")

    @classmethod
    def own_options(cls) -> tuple[Option, ...]:
        """The options that this task declares itself."""
        return declared_options(cls.options_type)

    @abstractmethod
    def rows(self) -> Iterable[Mapping[str, Any]]:
        """Return the raw rows in a fixed order, read from `self.options.data` or generated from `self.options.seed`.

        Raises:
            InputError: the source as a whole cannot be read.
        """

    def training_rows(self) -> Iterable[Mapping[str, Any]] | None:
        """Return the rows to tune on if they are not among `rows`, for example those of `self.options.train_data`.

        If there are such rows, every row of `rows` is tested, except for rows that name their own split.

        Returns:
            The rows, or None if the task tunes on part of `rows`.

        Raises:
            InputError: the source as a whole cannot be read.
        """
        return None

    def training_example(self, row: Mapping[str, Any], number: int) -> Example:
        """Turn row `number` (counted from 1) of `training_rows` into an example, which has no external metrics."""
        return replace(self.example(row, number), metrics={})

    @abstractmethod
    def example(self, row: Mapping[str, Any], number: int) -> Example:
        """Turn row `number` (counted from 1) into an example.

        Raises:
            ValueError, KeyError, TypeError, LookupError, AttributeError, ArithmeticError: the row is bad, and the
                message says why. The row is quarantined.
        """
