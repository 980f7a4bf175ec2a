"""Properties of a user's own: functions in a file, or in installed packages.

A function takes an `Example` and returns a bool, a number, None, or the text of the choice that it points to. The first
line of its docstring is the property's name, or else its own name.
"""

import hashlib
import math
import runpy
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from skilljobs.errors import InputError
from skilljobs.properties.property import Property
from skilljobs.tasks.base import Example

ENTRY_POINTS = "skilljobs.properties"
Function = Callable[[Example], Any]


def own_properties(named: Sequence[str], examples: Sequence[Example]) -> list[Property]:
    """The properties in `named` (`FILE.py:function`) and those of installed packages; `examples` show their kinds.

    Raises:
        InputError: there is no such file or function, it fails, it returns something else, not always the same, or
            two have one name.
    """
    functions = [_read(name) for name in named]
    for point in entry_points(group=ENTRY_POINTS):
        try:
            functions.append(point.load())
        except Exception as error:
            raise InputError(f"the property {point.name!r} cannot be loaded from {point.value}: {error}") from error
    found = [_property(function, examples) for function in functions]
    names = [of.name for of in found]
    for of in found:
        if names.count(of.name) > 1:
            raise InputError(f"two properties have the name {of.name!r}: give one another docstring")
        for example in examples:
            if of.value(example) != of.value(example):
                raise InputError(
                    f"the property {of.name!r} has another value for the example {example.example_id!r} each time"
                    " that it is asked, so that nothing can be said of it"
                )
    return found


def digest_of_own(named: Sequence[str]) -> list[str]:
    """What identifies the code of properties in files: a SHA-256 for each; errors as `own_properties`."""
    return [hashlib.sha256(_file(name).read_bytes()).hexdigest() for name in named]


def installed_properties() -> list[str]:
    """What identifies the properties of installed packages: name, place and version of each, sorted."""
    return sorted(
        f"{point.name} {point.value} {point.dist.version if point.dist else ''}"
        for point in entry_points(group=ENTRY_POINTS)
    )


def _file(name: str) -> Path:
    path = Path(name.rpartition(":")[0] or name).expanduser()
    if not path.is_file() or ":" not in name:
        raise InputError(f"--property {name!r}: write FILE.py:function, where FILE.py is a file that is there")
    return path


def _read(name: str) -> Function:
    path, wanted = _file(name), name.rpartition(":")[2]
    try:
        found = runpy.run_path(str(path))
    except Exception as error:
        raise InputError(f"--property {name!r}: {path} cannot be run: {type(error).__name__}: {error}") from error
    function = found.get(wanted)
    if not callable(function):
        raise InputError(f"--property {name!r}: {path} has no function {wanted!r}")
    result: Function = function
    return result


def _property(function: Function, examples: Sequence[Example]) -> Property:
    name = _name(function)
    found = [value for example in examples if (value := _call(function, name, example)) is not None]
    points = [isinstance(value, str) for value in found]
    if any(points):
        if not all(points):
            raise InputError(f"the property {name!r} returns a choice for some examples and something else for others")
        return Property(name, "yes/no", partial(_points_right, function, name), partial(_place, function, name))
    is_yes_no = all(isinstance(value, bool) for value in found)
    return Property(name, "yes/no" if is_yes_no else "number", partial(_value, function, name))


def _name(function: Function) -> str:
    lines = (function.__doc__ or "").strip().splitlines()
    own = getattr(function, "__name__", type(function).__name__).replace("_", " ")
    return lines[0].strip().rstrip(".") if lines else own


def _call(function: Function, name: str, example: Example) -> bool | int | float | str | None:
    where = f"for the example {example.example_id!r}"
    try:
        value = function(example)
        value = value.item() if hasattr(value, "item") else value
        is_finite = not isinstance(value, int | float) or math.isfinite(value)
    except Exception as error:
        raise InputError(f"the property {name!r} fails {where}: {type(error).__name__}: {error}") from error
    if value is not None and not isinstance(value, bool | int | float | str):
        raise InputError(f"the property {name!r} returns {value!r}; it must be a bool, a number, a choice or None")
    if not is_finite:
        raise InputError(f"the property {name!r} is {value} {where}")
    return value


def _value(function: Function, name: str, example: Example) -> float | None:
    value = _call(function, name, example)
    return None if value is None else float(value)


def _place(function: Function, name: str, example: Example) -> int | None:
    value = _call(function, name, example)
    choices = [choice.strip() for choice in example.choices or ()]
    if value is None:
        return None
    if str(value).strip() not in choices:
        raise InputError(
            f"the property {name!r} returns {value!r} for the example {example.example_id!r}, which is none of its"
            f" choices {', '.join(map(repr, choices)) or '(it has none)'}"
        )
    return choices.index(str(value).strip())


def _points_right(function: Function, name: str, example: Example) -> float | None:
    return None if example.choices is None else float(_place(function, name, example) == example.answer)
