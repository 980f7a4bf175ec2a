"""Properties of the numbers in a text, and of a right answer that is a number."""

import math
from collections.abc import Callable, Sequence
from functools import partial

from skilljobs.properties.property import Property, number, yes_no
from skilljobs.properties.segments import ORDINALS, numbers, usual, whole_number
from skilljobs.tasks.base import Example

Read = Callable[[Example], int | None]


def number_properties(examples: Sequence[Example]) -> list[Property]:
    """The properties of the numbers that texts like those of `examples` have."""
    found = [number("how many numbers the text has", lambda example: len(numbers(example)))]
    count = usual([len(numbers(example)) for example in examples])
    for place in range(min(count or 0, len(ORDINALS))):
        found += _of_number(f"the {ORDINALS[place]} number", partial(_number_at, place))
    if count is not None and count >= 2:
        found += [
            yes_no("the first number is larger than the second", _of_two(lambda one, two: one > two)),
            yes_no("the first two numbers are equal", _of_two(lambda one, two: one == two)),
            yes_no("the first two numbers end in the same digit", _of_two(lambda one, two: _last(one) == _last(two))),
            yes_no("the last digits of the first two numbers add up to ten or more", _of_two(_last_digits_carry)),
            yes_no("adding the first two numbers carries", _of_two(_carries)),
        ]
    if any(_answer(example) is not None for example in examples):
        found += _of_number("the right answer", _answer)
    return found


def _of_number(name: str, read: Read) -> list[Property]:
    def of(function: Callable[[int], float]) -> Callable[[Example], float | None]:
        def value(example: Example) -> float | None:
            found = read(example)
            return None if found is None else function(found)

        return value

    def whether(function: Callable[[int], bool]) -> Callable[[Example], bool | None]:
        def holds(example: Example) -> bool | None:
            found = read(example)
            return None if found is None else function(found)

        return holds

    return [
        number(f"how many digits {name} has", of(lambda value: len(str(abs(value))))),
        number(f"the last digit of {name}", of(_last)),
        number(f"the sum of the digits of {name}", of(lambda value: sum(map(int, str(abs(value)))))),
        number(f"the magnitude of {name}", of(lambda value: math.log10(1 + abs(value)))),
        yes_no(f"{name} is even", whether(lambda value: value % 2 == 0)),
        yes_no(f"{name} ends in 0", whether(lambda value: _last(value) == 0)),
        yes_no(f"{name} is negative", whether(lambda value: value < 0)),
    ]


def _of_two(function: Callable[[int, int], bool]) -> Callable[[Example], bool | None]:
    def holds(example: Example) -> bool | None:
        found = numbers(example)
        return function(found[0], found[1]) if len(found) >= 2 else None

    return holds


def _number_at(place: int, example: Example) -> int | None:
    found = numbers(example)
    return found[place] if place < len(found) else None


def _answer(example: Example) -> int | None:
    return whole_number(example.answer_text)


def _last(value: int) -> int:
    return abs(value) % 10


def _last_digits_carry(one: int, two: int) -> bool:
    return _last(one) + _last(two) >= 10


def _carries(one: int, two: int) -> bool:
    digits = (str(abs(value))[::-1] for value in (one, two))
    return any(int(a) + int(b) >= 10 for a, b in zip(*digits, strict=False))
