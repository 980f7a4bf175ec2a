"""BIG-bench arithmetic: generated questions, or the released ones with `--data`.

The task of arXiv 2511.21610's third study, whose finding is a neuron that follows `last_digit_decides`.
"""

import itertools
import json
import math
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from skilljobs.errors import InputError
from skilljobs.hashing import stable_hash
from skilljobs.tasks.base import Example, MetricValue, Task, split_of
from skilljobs.tasks.questions import (
    OPERATIONS,
    Question,
    draw_choices,
    layout_choices,
    numbers_among,
    operand_unit,
)
from skilljobs.tasks.row_files import read_json_lines, read_text

TEMPLATE = "Q: {input}{choices}\nA:"
LARGEST_OPERAND = 99
QUESTIONS_PER_OPERATION = 2000
SHORT_QUOTIENTS = 0.37
"""Share of divisions whose answer has one digit, as in the released examples."""


def operand_split(left: int, right: int) -> str:
    """The split of an operand pair: the one function that says it, for the task and for what the tiny model learns."""
    return split_of(operand_unit(left, right))


class Arithmetic(Task):
    """`What is 23 times 7?` with its choices shown in BIG-bench's own format, shuffled by seed."""

    name = "arithmetic"
    group = "operation"
    default_model = "tiny"
    choice_metrics = frozenset({"last_digit_decides", "length_decides", "choices", "answer_position"})
    accepts = Task.accepts | {"train_data"}

    def rows(self) -> Iterable[Mapping[str, Any]]:
        return generated_rows(self.options.seed) if self.options.data is None else read_bigbench(self.options.data)

    def training_rows(self) -> Iterable[Mapping[str, Any]] | None:
        return None if self.options.train_data is None else read_bigbench(self.options.train_data)

    def example(self, row: Mapping[str, Any], number: int) -> Example:
        question = Question.parse(row["input"])
        scores: Mapping[str, float] = row["target_scores"]
        right = [choice for choice, score in scores.items() if score]
        if right != [str(row["target"])]:
            raise ValueError(f"`target` is {row['target']!r}, but `target_scores` says {right}")
        if right[0] != str(question.answer):
            raise ValueError(f"{question.text!r} has the answer {question.answer}, not {right[0]!r}")
        shown = sorted(scores)
        random.Random(stable_hash("choices", self.options.seed, question.text)).shuffle(shown)
        text = (self.options.template or TEMPLATE).format(
            input=question.text, choices="" if self.options.hide_choices else layout_choices(shown)
        )
        metrics = question_metrics(question)
        if not self.options.hide_choices:
            metrics |= choice_metrics(str(question.answer), shown)
        unit = question.unit if self.options.unit_column is None else str(row[self.options.unit_column])
        return Example(
            example_id=str(row.get("example_id", f"{question.operation}-{question.left}-{question.right}")),
            unit=unit,
            split=str(row["split"]) if row.get("split") else split_of(unit),
            text=text,
            choices=tuple(f" {choice}" for choice in shown),
            answer=shown.index(right[0]),
            metrics=metrics,
        )


def question_metrics(question: Question) -> dict[str, MetricValue]:
    """The external metrics of the question alone."""
    answer = question.answer
    return {
        "operation": question.operation,
        "digits": question.digits,
        "answer_length": len(str(answer)),
        "answer_negative": answer < 0,
        "answer_even": answer % 2 == 0,
        "answer_magnitude": math.log10(1 + abs(answer)),
        "carry": question.carry,
    }


def choice_metrics(answer: str, shown: Sequence[str]) -> dict[str, MetricValue]:
    """The external metrics of the choices as shown: what a reader could decide from without any arithmetic."""
    numbers = numbers_among(shown)
    digits = [len(number.lstrip("-")) for number in numbers]
    return {
        "last_digit_decides": [number[-1] for number in numbers].count(answer[-1]) == 1,
        "length_decides": digits.count(len(answer.lstrip("-"))) == 1,
        "choices": len(shown),
        "answer_position": shown.index(answer),
    }


def generated_rows(seed: int) -> Iterator[dict[str, Any]]:
    """`QUESTIONS_PER_OPERATION` questions of each kind, like BIG-bench's, on operands that the tiny model knows.

    All one-digit questions, and a sample without repetition of the two-digit ones; of division, whatever a divisor
    and a quotient up to `LARGEST_OPERAND` make, with as many one-digit answers as BIG-bench has.
    """
    for operation in OPERATIONS:
        rng = random.Random(stable_hash("questions", seed, operation))
        asked = [question for question in all_questions(operation) if _is_like_bigbench(question)]
        if operation == "division":
            short = [question for question in asked if question.answer < 10]
            short = rng.sample(short, round(SHORT_QUOTIENTS * QUESTIONS_PER_OPERATION))
            others = [question for question in asked if question.answer > 9]
        else:
            short = [question for question in asked if question.digits == 1]
            others = [question for question in asked if question.digits > 1]
        for question in short + rng.sample(others, QUESTIONS_PER_OPERATION - len(short)):
            choices = draw_choices(question.answer, rng)
            answer = str(question.answer)
            yield {
                "input": question.text,
                "target": answer,
                "target_scores": {choice: float(choice == answer) for choice in choices},
            }


def _is_like_bigbench(question: Question) -> bool:
    """Operands of equal length, as in every released example; a division has no zero in it."""
    if question.operation == "division":
        return question.left > 0
    return len(str(question.left)) == len(str(question.right))


def all_questions(operation: str, largest: int = LARGEST_OPERAND, wide: int | None = None) -> Iterator[Question]:
    """Every question of `operation` on operands (divisor and quotient) 0 to `largest`.

    With `wide`, on one operand from there and one above it up to `wide` instead, in either order.
    """
    small = range(largest + 1)
    pairs: Iterable[tuple[int, int]] = itertools.product(small, small)
    if wide is not None:
        above = range(largest + 1, wide + 1)
        pairs = itertools.chain(itertools.product(small, above), itertools.product(above, small))
    for left, right in pairs:
        if operation != "division":
            yield Question(operation, left, right)
        elif left > 0:
            yield Question(operation, left * right, left)


def read_bigbench(path: Path) -> Iterator[dict[str, Any]]:
    """Rows of BIG-bench's `task.json`, or of JSON lines with `input`, `target`, `target_scores`; either may be .gz."""
    if not path.is_file():
        raise InputError(f"there is no file {path}")
    if Path(path.name.removesuffix(".gz")).suffix == ".json":
        yield from _task_json(path)
        return
    for row in read_json_lines(path):
        if "subtask" in row and "index" in row:
            row["example_id"] = f"{row['subtask']}/{row['index']}"
        yield row


def _task_json(path: Path) -> Iterator[dict[str, Any]]:
    try:
        task = json.loads(read_text(path))
        rows = task["examples"]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise InputError(f"{path} is not a BIG-bench task.json: it has no list `examples`") from error
    for index, row in enumerate(rows):
        target = row.get("target")
        if isinstance(target, list) and len(target) == 1:
            row = {**row, "target": target[0]}
        yield {"example_id": f"{task.get('name', path.stem)}/{index}", **row}
