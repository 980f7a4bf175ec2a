"""Arithmetic questions in the form of BIG-bench: operands, wording, wrong choices and layout.

The figures come from the 15,023 released examples (google/BIG-bench, `benchmark_tasks/arithmetic`).
"""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

OPERATIONS = {"addition": "plus", "subtraction": "minus", "multiplication": "times", "division": "divided by"}
"""Maps each operation to the words that ask for it."""

_OPERATION_OF = {words: operation for operation, words in OPERATIONS.items()}
_QUESTION = re.compile(rf"What is (-?\d+) ({'|'.join(_OPERATION_OF)}) (-?\d+)\?")
NOT_NUMBERS = ("banana", "house")


@dataclass(frozen=True, slots=True)
class Question:
    """An arithmetic question. `left` and `right` are the operands in the order of the text; a division is exact."""

    operation: str
    left: int
    right: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a question such as `What is 23 times 7?`.

        Raises:
            ValueError: the text is not of that form.
        """
        match = _QUESTION.fullmatch(text)
        if match is None:
            raise ValueError(f"{text!r} is not a question of the form 'What is 23 times 7?'")
        return cls(_OPERATION_OF[match[2]], int(match[1]), int(match[3]))

    @property
    def text(self) -> str:
        """The wording of the question."""
        return f"What is {self.left} {OPERATIONS[self.operation]} {self.right}?"

    @property
    def answer(self) -> int:
        """The right answer.

        Raises:
            ValueError: the quotient of a division is not a whole number.
        """
        match self.operation:
            case "addition":
                return self.left + self.right
            case "subtraction":
                return self.left - self.right
            case "multiplication":
                return self.left * self.right
        quotient, remainder = divmod(self.left, self.right)
        if remainder:
            raise ValueError(f"{self.left} divided by {self.right} is not a whole number")
        return quotient

    @property
    def operands(self) -> tuple[int, int]:
        """The operand pair that determines the unit, and so the split, of this question.

        A division has its divisor and quotient as the pair, so it shares the unit of their product.
        """
        return (self.right, self.answer) if self.operation == "division" else (self.left, self.right)

    @property
    def unit(self) -> str:
        """The unit of the question: its unordered operand pair."""
        return operand_unit(*self.operands)

    @property
    def digits(self) -> int:
        """Number of digits of the first operand: the k of BIG-bench's subtask `k_digit_<operation>`."""
        return len(str(abs(self.left)))

    @property
    def carry(self) -> bool | None:
        """Whether any column of the written algorithm carries or borrows, or None for a division."""
        if self.operation == "division":
            return None
        larger, smaller = sorted((abs(self.left), abs(self.right)), reverse=True)
        upper_digits, lower_digits = _digits(larger), _digits(smaller)
        if self.operation == "multiplication":
            return any(
                sum(
                    upper_digits[i] * lower_digits[column - i]
                    for i in range(len(upper_digits))
                    if 0 <= column - i < len(lower_digits)
                )
                >= 10
                for column in range(len(upper_digits) + len(lower_digits) - 1)
            )
        columns = zip(upper_digits, lower_digits, strict=False)
        if self.operation == "subtraction":
            return any(upper < lower for upper, lower in columns)
        return any(upper + lower >= 10 for upper, lower in columns)


def _digits(number: int) -> list[int]:
    """Return the decimal digits of `number`, the least significant first."""
    return [int(digit) for digit in reversed(str(number))]


def operand_unit(left: int, right: int) -> str:
    """Return the unit of an operand pair, which does not depend on the order of the operands or on the operation."""
    return f"{min(left, right)},{max(left, right)}"


def draw_choices(answer: int, rng: random.Random) -> list[str]:
    """Draw choices for `answer` in the way of BIG-bench, with the right choice last.

    The wrong choices are two numbers as long as the answer's string (a sign counts), one number that is two digits
    shorter (of at least one digit; left out if the answer is one character), one number that is two digits longer,
    and two words. Duplicates are removed, which leaves 5 to 7 choices.
    """
    length = len(str(answer))
    lengths = [length, length, *([max(1, length - 2)] if length > 1 else []), length + 2]
    wrong = [str(_number_other_than(answer, digits, rng)) for digits in lengths]
    return list(dict.fromkeys([*wrong, *NOT_NUMBERS, str(answer)]))


def _number_other_than(answer: int, digits: int, rng: random.Random) -> int:
    while (number := rng.randrange(10 ** (digits - 1), 10**digits)) == answer:
        pass
    return number


def layout_choices(choices: Sequence[str]) -> str:
    """Return the choices in BIG-bench's multiple-choice format, in which they follow the question."""
    return "".join(f"\n  choice: {choice}" for choice in choices)


def numbers_among(choices: Sequence[str]) -> list[str]:
    """Return the choices that are whole numbers."""
    return [choice for choice in choices if choice.lstrip("-").isdigit()]
