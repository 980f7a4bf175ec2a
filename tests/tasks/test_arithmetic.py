"""The arithmetic task, against the released examples where they are here."""

import json
import random
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from skilljobs.errors import InputError
from skilljobs.plan.reading import read_examples
from skilljobs.tasks.arithmetic import Arithmetic, operand_split
from skilljobs.tasks.base import Example, TaskOptions
from skilljobs.tasks.questions import Question, draw_choices


def examples(data: Path | None = None, **options: object) -> list[Example]:
    found, bad = read_examples(Arithmetic(TaskOptions(data=data, **options)), 0)  # type: ignore[arg-type]
    assert not bad
    return found


def shares(found: list[Example], metric: str) -> dict[str, float]:
    by_operation: dict[str, list[float]] = defaultdict(list)
    for example in found:
        by_operation[str(example.metrics["operation"])].append(float(example.metrics[metric]))  # type: ignore[arg-type]
    return {operation: sum(values) / len(values) for operation, values in by_operation.items()}


LAST_DIGIT = {"addition": 0.67, "subtraction": 0.67, "multiplication": 0.66, "division": 0.75}


@pytest.mark.parametrize("source", ["generated", pytest.param("released", marks=pytest.mark.data)])
def test_what_the_examples_look_like(source: str, request: pytest.FixtureRequest) -> None:
    found = examples(request.getfixturevalue("bigbench") if source == "released" else None)
    if source == "released":
        assert len(found) == 15_023
    for operation, share in shares(found, "last_digit_decides").items():
        assert share == pytest.approx(LAST_DIGIT[operation], abs=0.006 if source == "released" else 0.03)
    negative = shares(found, "answer_negative")
    assert negative["subtraction"] == pytest.approx(0.5, abs=0.03)
    assert sum(negative.values()) == negative["subtraction"]
    for example in found:
        assert example.choices is not None
        assert example.answer is not None
        numbers = [choice for choice in example.choices if choice not in (" banana", " house")]
        answer = example.choices[example.answer]
        assert 5 <= len(example.choices) <= 7
        assert len(example.choices) == len(numbers) + 2 == len(set(example.choices))
        wrong = [choice for choice in numbers if choice != answer]
        assert not any(choice.startswith(" -") for choice in wrong)
        length = len(answer) - 1
        lengths = Counter(len(choice) - 1 for choice in wrong)
        allowed = {length, length + 2, *([max(1, length - 2)] if length > 1 else [])}
        assert lengths.keys() <= allowed
        assert lengths[length + 2] == 1
        assert all(choice in example.text for choice in example.choices)
    positions = Counter(example.metrics["answer_position"] for example in found)
    assert positions.keys() == set(range(7))
    assert min(positions[place] for place in range(5)) > len(found) / 9, "the right choice is not shuffled"


def test_choices_are_drawn_as_in_the_released_examples() -> None:
    rng = random.Random(0)
    drawn = [draw_choices(-37, rng) for _ in range(500)]
    assert all(choices[-3:] == ["banana", "house", "-37"] for choices in drawn)
    assert {len(choices[0]) for choices in drawn} == {3}
    single = [draw_choices(4, rng) for _ in range(500)]
    assert {len(choices) for choices in single} == {5, 6}
    assert not any("0" in choices or choices.count("4") > 1 for choices in single)


@pytest.mark.parametrize(
    ("text", "answer", "operands", "carry", "digits"),
    [
        ("What is 23 times 7?", 161, (23, 7), True, 2),
        ("What is 21 times 3?", 63, (21, 3), False, 2),
        ("What is 55 plus 45?", 100, (55, 45), True, 2),
        ("What is 50 plus 45?", 95, (50, 45), False, 2),
        ("What is 31 minus 48?", -17, (31, 48), False, 2),
        ("What is 38 minus 41?", -3, (38, 41), True, 2),
        ("What is 48 minus 30?", 18, (48, 30), False, 2),
        ("What is 161 divided by 7?", 23, (7, 23), None, 3),
    ],
)
def test_questions(text: str, answer: int, operands: tuple[int, int], carry: bool | None, digits: int) -> None:
    question = Question.parse(text)
    assert question.text == text
    assert (question.answer, question.operands, question.carry, question.digits) == (answer, operands, carry, digits)


def test_a_division_and_a_swapped_product_share_the_unit() -> None:
    units = {Question.parse(f"What is {text}?").unit for text in ("23 times 7", "7 times 23", "161 divided by 7")}
    assert units == {"7,23"}


def test_no_unit_is_in_two_splits_or_two_halves() -> None:
    found = examples()
    places = defaultdict(set)
    for example in found:
        places[example.unit].add((example.split, example.half))
        assert example.split == operand_split(*map(int, example.unit.split(",")))
    assert all(len(place) == 1 for place in places.values())
    counts = Counter(split for place in places.values() for split, _ in place)
    assert counts["train"] / len(places) == pytest.approx(0.5, abs=0.02)
    assert counts["test"] / len(places) == pytest.approx(0.4, abs=0.02)
    halves = Counter(half for place in places.values() for _, half in place)
    assert halves[0] / len(places) == pytest.approx(0.5, abs=0.02)


def test_seed_draws_other_questions_but_moves_no_unit() -> None:
    first, second = examples(), examples(seed=1)
    assert [example.text for example in first] != [example.text for example in second]
    splits = {example.unit: example.split for example in first}
    assert all(splits.get(example.unit, example.split) == example.split for example in second)


def test_hidden_choices_leave_text_and_metrics() -> None:
    example = examples(hide_choices=True)[5]
    assert example.text == f"Q: {Question.parse(example.text[3:-3]).text}\nA:"
    assert not Arithmetic.choice_metrics & example.metrics.keys()
    assert example.choices is not None


def test_task_json_is_read(tmp_path: Path) -> None:
    rows = [{"input": "What is 2 plus 3?", "target": ["5"], "target_scores": {"4": 0, "5": 1}}]
    path = tmp_path / "task.json"
    path.write_text(json.dumps({"name": "1_digit_addition", "examples": rows}))
    (example,) = examples(path)
    assert (example.example_id, example.answer_text) == ("1_digit_addition/0", " 5")


def test_a_wrong_target_is_named_with_its_row(tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(json.dumps({"input": "What is 2 plus 3?", "target": "6", "target_scores": {"4": 0, "6": 1}}))
    with pytest.raises(InputError, match=r"row 1 is bad: 'What is 2 plus 3\?' has the answer 5, not '6'"):
        examples(path)
