"""BIG-bench arithmetic: questions that are generated, or the released questions with `--data`.

This is the task of the third study in arXiv 2511.21610, which found a neuron that follows `last_digit_decides`.
"""

import itertools
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
from skilljobs.tasks.row_files import read_json_lines
from skilljobs.tasks.text_files import check_file, parse_json, read_text

TEMPLATE = "Q: {input}{choices}\nA:"
LARGEST_OPERAND = 99
QUESTIONS_PER_OPERATION = 2000
SHORT_QUOTIENTS = 0.37
"""Fraction of divisions whose answer has one digit, as in the released examples."""


def operand_split(left: int, right: int) -> str:
    """Return the split of an operand pair.

    Both the task and the training of the tiny model take the split from here, so they cannot disagree.
    """
    return split_of(operand_unit(left, right))


class Arithmetic(Task):
    """Questions such as `What is 23 times 7?`, with choices in BIG-bench's own format, shuffled by seed."""

    name = "arithmetic"
    group = "operation"
    default_model = "tiny"
    choice_metrics = frozenset({"last_digit_decides", "length_decides", "choices", "answer_position"})
    fields = frozenset({"input", "target", "target_scores", "example_id", "subtask", "index", "split"})
    accepts = Task.accepts | {"train_data"}

    def rows(self) -> Iterable[Mapping[str, Any]]:
        return generated_rows(self.options.seed) if self.options.data is None else read_bigbench(self.options.data)

    def training_rows(self) -> Iterable[Mapping[str, Any]] | None:
        return None if self.options.train_data is None else read_bigbench(self.options.train_data)

    def example(self, row: Mapping[str, Any], number: int) -> Example:
        if not isinstance(row["input"], str):
            raise ValueError(f"`input` is {row['input']!r}, which is not a text")
        question = Question.parse(row["input"])
        scores: Mapping[str, float] = row["target_scores"]
        if not isinstance(scores, Mapping):
            raise ValueError(f"`target_scores` is {scores!r}, which does not give choices their scores")
        right_choices = [choice for choice, score in scores.items() if score]
        if right_choices != [str(row["target"])]:
            raise ValueError(f"`target` is {row['target']!r}, but `target_scores` gives {right_choices}")
        if right_choices[0] != str(question.answer):
            raise ValueError(f"{question.text!r} has the answer {question.answer}, not {right_choices[0]!r}")
        shuffled = sorted(scores)
        random.Random(stable_hash("choices", self.options.seed, question.text)).shuffle(shuffled)
        text = (self.options.template or TEMPLATE).format(
            input=question.text, choices="" if self.options.hide_choices else layout_choices(shuffled)
        )
        metrics = question_metrics(question)
        if not self.options.hide_choices:
            metrics |= choice_metrics(str(question.answer), shuffled)
        unit = question.unit if self.options.unit_column is None else str(row[self.options.unit_column])
        return Example(
            example_id=str(row.get("example_id", f"{question.operation}-{question.left}-{question.right}")),
            unit=unit,
            split=str(row["split"]) if row.get("split") else split_of(unit),
            text=text,
            choices=tuple(f" {choice}" for choice in shuffled),
            answer=shuffled.index(right_choices[0]),
            metrics=metrics,
        )


def question_metrics(question: Question) -> dict[str, MetricValue]:
    """Return the external metrics that depend on the question alone."""
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


def choice_metrics(answer: str, choices: Sequence[str]) -> dict[str, MetricValue]:
    """Return the external metrics of the choices, given in the order of the text.

    They say whether a reader could find the answer without any arithmetic.
    """
    numbers = numbers_among(choices)
    digits = [len(number.lstrip("-")) for number in numbers]
    return {
        "last_digit_decides": [number[-1] for number in numbers].count(answer[-1]) == 1,
        "length_decides": digits.count(len(answer.lstrip("-"))) == 1,
        "choices": len(choices),
        "answer_position": choices.index(answer),
    }


def generated_rows(seed: int) -> Iterator[dict[str, Any]]:
    """Yield `QUESTIONS_PER_OPERATION` questions of each operation like BIG-bench's, with operands the tiny model knows.

    They are all one-digit questions and a sample without replacement of the two-digit questions. Divisions have a
    divisor and a quotient up to `LARGEST_OPERAND`, and the fraction of one-digit answers is that of BIG-bench.
    """
    for operation in OPERATIONS:
        rng = random.Random(stable_hash("questions", seed, operation))
        candidates = [question for question in all_questions(operation) if _is_like_bigbench(question)]
        if operation == "division":
            short = [question for question in candidates if question.answer < 10]
            short = rng.sample(short, round(SHORT_QUOTIENTS * QUESTIONS_PER_OPERATION))
            others = [question for question in candidates if question.answer > 9]
        else:
            short = [question for question in candidates if question.digits == 1]
            others = [question for question in candidates if question.digits > 1]
        for question in short + rng.sample(others, QUESTIONS_PER_OPERATION - len(short)):
            choices = draw_choices(question.answer, rng)
            answer = str(question.answer)
            yield {
                "input": question.text,
                "target": answer,
                "target_scores": {choice: float(choice == answer) for choice in choices},
            }


def _is_like_bigbench(question: Question) -> bool:
    """Return whether the operands have equal length, or for a division, whether no operand is 0, as released."""
    if question.operation == "division":
        return question.left > 0
    return len(str(question.left)) == len(str(question.right))


def all_questions(operation: str, largest: int = LARGEST_OPERAND, wide: int | None = None) -> Iterator[Question]:
    """Yield every question of `operation` with operands from 0 to `largest`; in a division, divisor and quotient.

    If `wide` is given, one operand is from 0 to `largest` and the other from `largest` + 1 to `wide`, in either order.
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
    """Yield the rows of BIG-bench's `task.json`, or of JSON lines with `input`, `target` and `target_scores`.

    Either file may be compressed (.gz).

    Raises:
        InputError: the file does not exist or cannot be read.
    """
    check_file(path)
    if Path(path.name.removesuffix(".gz")).suffix == ".json":
        yield from _task_json(path)
        return
    for row in read_json_lines(path):
        if "subtask" in row and "index" in row:
            row["example_id"] = f"{row['subtask']}/{row['index']}"
        yield row


def _task_json(path: Path) -> Iterator[dict[str, Any]]:
    try:
        task = parse_json(read_text(path))
    except ValueError as error:
        raise InputError(f"{path} is not a BIG-bench task.json: it {error}") from error
    rows = task.get("examples") if isinstance(task, dict) else None
    if not isinstance(rows, list):
        raise InputError(f"{path} is not a BIG-bench task.json, because it has no list `examples`")
    for index, row in enumerate(rows):
        if not isinstance(row, dict):
            raise InputError(f"{path}: number {index + 1} of its `examples` is not a JSON object")
        target = row.get("target")
        if isinstance(target, list) and len(target) == 1:
            row = {**row, "target": target[0]}
        yield {"example_id": f"{task.get('name', path.stem)}/{index}", **row}
