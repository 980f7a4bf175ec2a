"""Properties of the choices: what singles the right one out, and which one a reader would take without the question."""

from collections.abc import Callable, Hashable, Sequence
from functools import partial

from skilljobs.properties.property import Property, number, pointing, yes_no
from skilljobs.properties.segments import whole_number
from skilljobs.tasks.base import Example, choice_names

Attribute = Callable[[str], Hashable]


def choice_properties(examples: Sequence[Example]) -> list[Property]:
    """The properties of choices like those of `examples`; none if they have no choices."""
    if not any(example.choices for example in examples):
        return []
    names = fixed_choices(examples)
    if names is not None:
        found = [yes_no(f"the right answer is {name!r}", partial(_is_right, name)) for name in names]
    else:
        found = [
            yes_no(f"{what} alone decides among the choices", partial(_decides, attribute))
            for what, attribute in _ATTRIBUTES.items()
        ]
        found += [pointing(f"the {what} choice is the right one", points_to) for what, points_to in _POINTERS.items()]
    return [
        *found,
        number("the position of the right choice, from 1", _position),
        number("how many choices there are", lambda example: len(example.choices or ())),
        pointing("the first choice is the right one", lambda _: 0),
        pointing("the last choice is the right one", lambda example: len(example.choices or ()) - 1),
    ]


def fixed_choices(examples: Sequence[Example]) -> list[str] | None:
    """The names of the choices, sorted, where all examples have the same ones in whatever order; otherwise None."""
    kinds = {None if example.choices is None else tuple(sorted(example.choices)) for example in examples}
    (only,) = kinds if len(kinds) == 1 else (None,)
    return None if only is None else choice_names(only)


def _is_right(name: str, example: Example) -> bool | None:
    return None if example.choices is None else choice_names(example.choices)[example.answer or 0] == name


def _decides(attribute: Attribute, example: Example) -> bool | None:
    """Whether no other choice has the attribute of the right one. Choices without the attribute do not count."""
    if example.choices is None or example.answer is None:
        return None
    values = [attribute(choice.strip()) for choice in example.choices]
    right = values[example.answer]
    return right is not None and values.count(right) == 1


def _last_digit(choice: str) -> str | None:
    return choice[-1] if whole_number(choice) is not None else None


def _first_digit(choice: str) -> str | None:
    return choice.lstrip("-")[0] if whole_number(choice) is not None else None


def _digits(choice: str) -> int | None:
    return len(choice.lstrip("-")) if whole_number(choice) is not None else None


def _sign(choice: str) -> bool | None:
    found = whole_number(choice)
    return None if found is None else found < 0


def _parity(choice: str) -> int | None:
    found = whole_number(choice)
    return None if found is None else found % 2


def _form(choice: str) -> str:
    if whole_number(choice) is not None:
        return "number"
    return "word" if choice.isalpha() else "other"


_ATTRIBUTES: dict[str, Attribute] = {
    "the last digit": _last_digit,
    "the first digit": _first_digit,
    "the number of digits": _digits,
    "the number of characters": len,
    "the sign": _sign,
    "the parity": _parity,
    "the form": _form,
}


def _position(example: Example) -> int | None:
    return None if example.answer is None else example.answer + 1


def _extreme(measure: Callable[[str], float | None], largest: bool, example: Example) -> int | None:
    """The choice of the largest or smallest measure, if it is the only one."""
    found = [
        (value, place) for place, choice in enumerate(example.choices or ()) if (value := measure(choice)) is not None
    ]
    if not found:
        return None
    best, place = (max if largest else min)(found)
    return place if [value for value, _ in found].count(best) == 1 else None


def _length(choice: str) -> float:
    return float(len(choice.strip()))


_POINTERS: dict[str, Callable[[Example], int | None]] = {
    "longest": partial(_extreme, _length, True),
    "shortest": partial(_extreme, _length, False),
    "largest": partial(_extreme, whole_number, True),
    "smallest": partial(_extreme, whole_number, False),
}
