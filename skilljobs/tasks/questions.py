"""Arithmetic questions as BIG-bench asks them: operands, wording, wrong choices, layout.

The figures come from the 15,023 released examples (google/BIG-bench, `benchmark_tasks/arithmetic`).
"""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

OPERATIONS = {"addition": "plus", "subtraction": "minus", "multiplication": "times", "division": "divided by"}
"""Each operation and the words that ask for it."""

_OPERATION_OF = {words: operation for operation, words in OPERATIONS.items()}
_QUESTION = re.compile(rf"What is (-?\d+) ({'|'.join(_OPERATION_OF)}) (-?\d+)\?")
NOT_NUMBERS = ("banana", "house")


@dataclass(frozen=True, slots=True)
class Question:
    """`left` and `right` are the operands as asked; a division is exact."""

    operation: str
    left: int
    right: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `What is 23 times 7?`; raises ValueError for any other text."""
        match = _QUESTION.fullmatch(text)
        if match is None:
            raise ValueError(f"{text!r} is not a question of the form 'What is 23 times 7?'")
        return cls(_OPERATION_OF[match[2]], int(match[1]), int(match[3]))

    @property
    def text(self) -> str:
        return f"What is {self.left} {OPERATIONS[self.operation]} {self.right}?"

    @property
    def answer(self) -> int:
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
        """The pair whose split this question shares: of a division, divisor and quotient, as of their product."""
        return (self.right, self.answer) if self.operation == "division" else (self.left, self.right)

    @property
    def unit(self) -> str:
        """The unordered operand pair."""
        return operand_unit(*self.operands)

    @property
    def digits(self) -> int:
        """Digits of the first number: the k of BIG-bench's subtask `k_digit_<operation>`."""
        return len(str(abs(self.left)))

    @property
    def carry(self) -> bool | None:
        """Whether a column of the written algorithm carries (or borrows); None for a division."""
        if self.operation == "division":
            return None
        larger, smaller = sorted((abs(self.left), abs(self.right)), reverse=True)
        above, below = _digits(larger), _digits(smaller)
        if self.operation == "multiplication":
            return any(
                sum(above[i] * below[column - i] for i in range(len(above)) if 0 <= column - i < len(below)) >= 10
                for column in range(len(above) + len(below) - 1)
            )
        columns = zip(above, below, strict=False)
        if self.operation == "subtraction":
            return any(upper < lower for upper, lower in columns)
        return any(upper + lower >= 10 for upper, lower in columns)


def _digits(number: int) -> list[int]:
    """Decimal digits, units first."""
    return [int(digit) for digit in reversed(str(number))]


def operand_unit(left: int, right: int) -> str:
    """The unit of an operand pair, whatever its order or operation."""
    return f"{min(left, right)},{max(left, right)}"


def draw_choices(answer: int, rng: random.Random) -> list[str]:
    """BIG-bench's choices for `answer`, the right one last.

    Two numbers as long as the answer's string (its sign counts), one two digits shorter (one digit at least; none
    where the answer is one character), one two digits longer, and two words; duplicates collapse, so 5 to 7.
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
    """The choices as BIG-bench's multiple-choice format shows them, after the question."""
    return "".join(f"\n  choice: {choice}" for choice in choices)


def numbers_among(choices: Sequence[str]) -> list[str]:
    return [choice for choice in choices if choice.lstrip("-").isdigit()]
