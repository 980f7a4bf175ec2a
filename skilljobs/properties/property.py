"""What a property is: a name that a reader understands, and a value for each example."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from skilljobs.tasks.base import Example

Kind = Literal["yes/no", "number"]
Value = Callable[[Example], float | None]
Pointer = Callable[[Example], int | None]


@dataclass(frozen=True)
class Property:
    """Something about an example that needs no model.

    `value` gives a number, or 1 and 0 for a property that holds or does not, and None where it has none. `points_to`
    gives the index of the choice that the property points to, or None where it points to none; the value is then
    whether it points to the right one.
    """

    name: str
    kind: Kind
    value: Value
    points_to: Pointer | None = None


def yes_no(name: str, holds: Callable[[Example], bool | None]) -> Property:
    """A property that holds or does not."""

    def value(example: Example) -> float | None:
        found = holds(example)
        return None if found is None else float(found)

    return Property(name, "yes/no", value)


def number(name: str, value: Callable[[Example], float | int | None]) -> Property:
    """A property that is a number."""
    return Property(name, "number", value)


def pointing(name: str, points_to: Pointer) -> Property:
    """A property that points to a choice; its value is whether that is the right one."""

    def value(example: Example) -> float | None:
        return None if example.choices is None else float(points_to(example) == example.answer)

    return Property(name, "yes/no", value, points_to)


def values_of(properties: Sequence[Property], examples: Sequence[Example]) -> NDArray[np.float64]:
    """The values of properties, examples x properties; NaN where there is none."""
    values = np.full((len(examples), len(properties)), math.nan)
    for row, example in enumerate(examples):
        for column, of in enumerate(properties):
            value = of.value(example)
            if value is not None:
                values[row, column] = value
    return values
