"""Options that are declared once.

A dataclass field made by `option` carries its default, its type and one line of help. The command line, the Python
API, the printed command and the stored spec all read that one declaration.
"""

import os
import types
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from skilljobs.errors import InputError
from skilljobs.uris import checked_place

_METADATA_KEY = "option"
_KIND_NAMES = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}


@dataclass(frozen=True)
class OptionText:
    """What a declaration says beyond its type and default."""

    help: str
    metavar: str | None
    minimum: float | None
    default_text: str | None
    is_path: bool


def option(
    default: Any,
    help: str,
    *,
    metavar: str | None = None,
    minimum: float | None = None,
    default_text: str | None = None,
    is_path: bool = False,
) -> Any:
    """A dataclass field that is an option.

    Args:
        default: used when the option is not given.
        help: one line for `--help`.
        metavar: the placeholder for the value in `--help`.
        minimum: the smallest value that is accepted.
        default_text: what `--help` shows as the default where that is worked out later.
        is_path: whether the value may name a local file or directory, so that it is made absolute.
    """
    text = OptionText(help, metavar, minimum, default_text, is_path)
    return field(default=default, metadata={_METADATA_KEY: text})


@dataclass(frozen=True)
class Option:
    """One declared option. `values` is how many words it takes on the command line; 0 for a flag."""

    name: str
    kind: type
    choices: tuple[str, ...]
    values: int
    repeats: bool
    default: Any
    text: OptionText

    @property
    def flag(self) -> str:
        """The option on the command line."""
        return flag_of(self.name)

    def checked(self, value: Any) -> Any:
        """`value` in its declared type.

        Raises:
            InputError: it is of another type, below the minimum, or not one of the choices.
        """
        if value is None and self.default is None:
            return None
        if self.repeats or self.values > 1:
            if not isinstance(value, str | Iterable):
                raise InputError(f"{self.flag} is {value!r}; it takes {_KIND_NAMES[self.kind]}, or several in a list")
            parts = (value,) if isinstance(value, str) else tuple(value)
            if self.values > 1 and len(parts) != self.values:
                raise InputError(f"{self.flag} takes {self.values} values, and {len(parts)} were given")
            return tuple(self._checked_one(part) for part in parts)
        return self._checked_one(value)

    def _checked_one(self, value: Any) -> Any:
        right_type = isinstance(value, self.kind) and (self.kind is bool or not isinstance(value, bool))
        if self.kind is float and isinstance(value, int) and not isinstance(value, bool):
            value, right_type = float(value), True
        if isinstance(value, os.PathLike) and self.kind is str:
            value, right_type = os.fspath(value), True
        if isinstance(value, str) and not _can_be_encoded(value):
            raise InputError(f"{self.flag} is {value!r}; it holds a byte that is not UTF-8")
        if self.text.is_path and isinstance(value, str):
            checked_place(value, self.flag)
        if not right_type:
            raise InputError(f"{self.flag} is {value!r}; it takes {_KIND_NAMES[self.kind]}")
        if self.choices and value not in self.choices:
            raise InputError(f"{self.flag} is {value!r}; it may be {_listed(self.choices)}")
        if self.text.minimum is not None and not value >= self.text.minimum:
            raise InputError(f"{self.flag} is {value}; it must be at least {self.text.minimum:g}")
        return value

    def words(self, value: Any) -> list[str]:
        """The words that give this option `value` on the command line."""
        if self.values == 0:
            return [self.flag] if value else []
        if self.repeats:
            return [word for part in value for word in (self.flag, str(part))]
        return [self.flag, *map(str, value)] if self.values > 1 else [self.flag, str(value)]


def flag_of(name: str) -> str:
    """The command-line option for a field's name."""
    return "--" + name.replace("_", "-")


def declared_options(declaring: type) -> tuple[Option, ...]:
    """The options that a dataclass declares, in order; those it inherits come first."""
    return _declared_once(declaring)


@cache
def _declared_once(declaring: Any) -> tuple[Option, ...]:
    hints = get_type_hints(declaring)
    return tuple(_declared(declaring, hints))


def _declared(declaring: type, hints: Mapping[str, Any]) -> Iterator[Option]:
    for item in fields(declaring):
        text = item.metadata.get(_METADATA_KEY)
        if text is None:
            continue
        assert item.default is not MISSING
        annotation = _without_none(hints[item.name])
        origin, arguments = get_origin(annotation), get_args(annotation)
        choices: tuple[str, ...] = arguments if origin is Literal else ()
        repeats = origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis
        kind = str if choices else arguments[0] if origin is tuple else annotation
        values = 0 if kind is bool else len(arguments) if origin is tuple and not repeats else 1
        yield Option(item.name, kind, choices, values, repeats, item.default, text)


def _without_none(annotation: Any) -> Any:
    if get_origin(annotation) in (Union, types.UnionType):
        members = [member for member in get_args(annotation) if member is not type(None)]
        assert len(members) == 1, f"an option has one type, not {annotation}"
        return members[0]
    return annotation


def absolute_path(name: str) -> str:
    """`name` from the root where it names a file or directory, so that it means the same from anywhere."""
    full = os.path.expanduser(name)
    return os.path.abspath(full) if os.path.exists(full) else name


def _can_be_encoded(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _listed(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
