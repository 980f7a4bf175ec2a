"""The candidate properties of a data set: all that vary in it, of which those that say nearly the same stand once."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skilljobs.errors import InputError
from skilljobs.properties.choice_properties import choice_properties
from skilljobs.properties.column_properties import column_properties
from skilljobs.properties.number_properties import number_properties
from skilljobs.properties.overlap_properties import overlap_properties
from skilljobs.properties.own_properties import own_properties
from skilljobs.properties.property import Property, values_of
from skilljobs.properties.text_properties import text_properties
from skilljobs.tasks.base import Example

FEWEST = 5
"""Examples that must have a yes/no property, and that must lack it."""
FEWEST_NUMBERS = 20
"""Examples that must have a value, of a property that is a number."""
MOST_ALIKE = 0.95
"""Above this |r| two properties say nearly the same."""


@dataclass(frozen=True)
class Candidate:
    """A property, the names of those that say nearly the same, and its values: a number for each example, or NaN."""

    property: Property
    alike: tuple[str, ...]
    values: NDArray[np.float64]


def candidate_properties(examples: Sequence[Example], own: Sequence[str] = ()) -> list[Candidate]:
    """The properties that tell `examples` apart. `own` are those that a user names (`FILE.py:function`).

    Of properties that say nearly the same, the first is kept: a user's own, then the data's columns, then those of
    numbers, choices, parts and words.

    Raises:
        InputError: as `own_properties`; or no property tells the examples apart.
    """
    mine, columns = own_properties(own, examples), column_properties(examples)
    for of in mine:
        if of.name in {column.name for column in columns}:
            raise InputError(f"the property {of.name!r} has the name of a column: give it another docstring")
    properties = [
        *mine,
        *columns,
        *number_properties(examples),
        *choice_properties(examples),
        *overlap_properties(examples),
        *text_properties(examples),
    ]
    names: dict[str, Property] = {}
    for of in properties:
        names.setdefault(of.name, of)
    properties = list(names.values())
    found = told_apart(properties, examples)
    if not found:
        raise InputError(f"no property tells the {len(examples)} examples apart")
    return found


def told_apart(properties: Sequence[Property], examples: Sequence[Example]) -> list[Candidate]:
    """Those of `properties` that tell `examples` apart, and of such as say nearly the same the first."""
    values = values_of(properties, examples)
    varying = [place for place, of in enumerate(properties) if _varies(of, values[:, place])]
    return _first_of_alike([properties[place] for place in varying], values[:, varying], examples)


def always_held(examples: Sequence[Example], own: Sequence[str] = ()) -> list[Property]:
    """The yes/no properties of a user's own, of columns and of parts, that too few examples lack to tell."""
    properties = [*own_properties(own, examples), *column_properties(examples), *overlap_properties(examples)]
    values = values_of(properties, examples)
    held = ((values == 1).sum(0) >= FEWEST) & ((values == 0).sum(0) < FEWEST)
    return [of for of, is_held in zip(properties, held, strict=True) if of.kind == "yes/no" and is_held]


def untold(examples: Sequence[Example], own: Sequence[str], always: Sequence[Property]) -> list[str]:
    """Why properties of a user's own tell nothing of `examples`, in sentences: they hardly vary.

    Those of `always`, which nearly all examples have, are judged otherwise.
    """
    properties = own_properties(own, examples)
    values = values_of(properties, examples)
    held = {of.name for of in always}
    return [
        f"the property {of.name!r} says the same of nearly all of the {len(examples)} examples, so that nothing can be"
        " told of it"
        for place, of in enumerate(properties)
        if not _varies(of, values[:, place]) and of.name not in held
    ]


def _varies(of: Property, values: NDArray[np.float64]) -> bool:
    present = values[~np.isnan(values)]
    if of.kind == "yes/no":
        return min(int((present == 1).sum()), int((present == 0).sum())) >= FEWEST
    _, counts = np.unique(present, return_counts=True)
    return len(present) >= FEWEST_NUMBERS and len(counts) > 1 and len(present) - int(counts.max()) >= FEWEST


def _first_of_alike(
    properties: Sequence[Property], values: NDArray[np.float64], examples: Sequence[Example]
) -> list[Candidate]:
    """The first of each group of properties that say nearly the same, and point to the same choices if to any."""
    pointed = [None if of.points_to is None else [of.points_to(example) for example in examples] for of in properties]
    missing = np.isnan(values)
    standard = np.zeros_like(values)
    for place in range(len(properties)):
        present = values[~missing[:, place], place]
        standard[~missing[:, place], place] = (present - present.mean()) / present.std()
    kept: list[int] = []
    alike: dict[int, list[str]] = {}
    for place, of in enumerate(properties):
        same = [
            other
            for other in kept
            if pointed[place] == pointed[other]
            and np.array_equal(missing[:, place], missing[:, other])
            and abs(standard[:, place] @ standard[:, other]) > MOST_ALIKE * int((~missing[:, place]).sum())
        ]
        if same:
            alike[same[0]].append(of.name)
        else:
            kept.append(place)
            alike[place] = []
    return [Candidate(properties[place], tuple(alike[place]), values[:, place]) for place in kept]
