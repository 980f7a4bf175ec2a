"""Candidate properties of real tasks' examples, each checked against a reading of its own."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from skilljobs.errors import InputError
from skilljobs.properties.candidates import Candidate, always_held, candidate_properties, untold
from skilljobs.properties.own_properties import digest_of_own, own_properties
from skilljobs.properties.segments import body, labelled, numbers
from skilljobs.tasks.arithmetic import Arithmetic
from skilljobs.tasks.base import Example, Task
from skilljobs.tasks.hans import Hans


def examples_of(task: Task, count: int = 400) -> list[Example]:
    rows = list(task.rows())
    return [task.example(rows[place], place) for place in np.linspace(0, len(rows) - 1, count).astype(int)]


@pytest.fixture(scope="module")
def arithmetic() -> list[Example]:
    return examples_of(Arithmetic())


@pytest.fixture(scope="module")
def hans() -> list[Example]:
    return examples_of(Hans())


def named(candidates: Sequence[Candidate], name: str) -> Candidate:
    return next(candidate for candidate in candidates if name in (candidate.property.name, *candidate.alike))


def test_the_last_digit_decides_as_the_task_says(arithmetic: list[Example]) -> None:
    candidates = candidate_properties(arithmetic)
    found = named(candidates, "the last digit alone decides among the choices")
    expected = [example.metrics["last_digit_decides"] for example in arithmetic]
    assert found.values.tolist() == expected
    assert found.property.name == "last_digit_decides", "a column comes before what says the same"
    assert found.property.points_to is None


def test_numbers_are_those_of_the_question_and_not_of_its_choices(arithmetic: list[Example]) -> None:
    for example in arithmetic[:50]:
        question = example.text.splitlines()[0]
        shown = [int(word.strip("?")) for word in question.split() if word.strip("?").isdigit()]
        assert numbers(example) == shown
        assert "choice" not in body(example)
    candidates = candidate_properties(arithmetic)
    larger = named(candidates, "the first number is larger than the second")
    assert larger.values.tolist() == [float(numbers(e)[0] > numbers(e)[1]) for e in arithmetic]
    carries = named(candidates, "adding the first two numbers carries")
    assert carries.values.tolist() == [
        float(any(int(a) + int(b) >= 10 for a, b in zip(*(str(n)[::-1] for n in numbers(e)[:2]), strict=False)))
        for e in arithmetic
    ]


def test_a_pointer_holds_where_it_points_to_the_right_choice(arithmetic: list[Example]) -> None:
    found = named(candidate_properties(arithmetic), "the first choice is the right one")
    assert found.property.points_to is not None
    assert {found.property.points_to(example) for example in arithmetic} == {0}
    assert found.values.tolist() == [float(example.answer == 0) for example in arithmetic]


def test_parts_of_a_text_are_compared_word_by_word(hans: list[Example]) -> None:
    parts = labelled(hans[0])
    assert set(parts) == {"Premise", "Hypothesis"}
    assert "all words of Hypothesis stand in Premise" in [of.name for of in always_held(hans)]
    found = named(candidate_properties(hans), "Hypothesis stands in Premise word for word")
    expected = []
    for example in hans:
        premise, hypothesis = (labelled(example)[part].lower().strip(".") for part in ("Premise", "Hypothesis"))
        expected.append(float(f" {hypothesis} " in f" {premise.replace(',', '').replace('.', '')} "))
    assert found.values.tolist() == expected


def test_properties_that_say_nearly_the_same_stand_once(hans: list[Example]) -> None:
    every = candidate_properties(hans)
    candidates = [candidate for candidate in every if candidate.property.points_to is None]
    for one in range(len(candidates)):
        for other in range(one):
            a, b = candidates[one].values, candidates[other].values
            if not (np.isnan(a) | np.isnan(b)).any():
                assert abs(np.corrcoef(a, b)[0, 1]) <= 0.95 + 1e-9
    names = [name for candidate in every for name in (candidate.property.name, *candidate.alike)]
    assert len(names) == len(set(names))
    assert all(np.nanstd(candidate.values) > 0 for candidate in candidates)


def test_a_property_of_ones_own(arithmetic: list[Example], tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "def seven(example):\n    'The question has a seven.'\n    return '7' in example.text.splitlines()[0]\n"
        "def first(example):\n    return example.choices[0]\n"
        "def length(example):\n    return len(example.text)\n"
        "def fails(example):\n    return example.nothing\n"
        "def other(example):\n    return 'no choice at all'\n",
        encoding="utf-8",
    )
    seven, first, length = own_properties([f"{file}:{name}" for name in ("seven", "first", "length")], arithmetic)
    assert (seven.name, seven.kind) == ("The question has a seven", "yes/no")
    assert (first.name, length.kind) == ("first", "number")
    assert first.points_to is not None
    assert first.points_to(arithmetic[3]) == 0
    assert first.value(arithmetic[3]) == float(arithmetic[3].answer == 0)
    assert candidate_properties(arithmetic, [f"{file}:seven"])[0].property.name == "The question has a seven"
    with pytest.raises(InputError, match=r"'fails' fails for the example .*: AttributeError"):
        own_properties([f"{file}:fails"], arithmetic)
    with pytest.raises(InputError, match="none of its choices"):
        candidate_properties(arithmetic, [f"{file}:other"])
    with pytest.raises(InputError, match="has no function 'absent'"):
        own_properties([f"{file}:absent"], arithmetic)
    with pytest.raises(InputError, match=r"write FILE\.py:function"):
        own_properties([str(file)], arithmetic)
    before = digest_of_own([f"{file}:seven"])
    file.write_text(file.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    assert digest_of_own([f"{file}:seven"]) != before


def test_what_points_elsewhere_is_not_the_same() -> None:
    """With two choices, the first is right where the last is wrong: a reader of either would answer differently."""
    rng = np.random.default_rng(0)
    examples = []
    for place in range(100):
        choices = (" yes", " no") if rng.random() < 0.5 else (" no", " yes")
        examples.append(Example(f"{place}", f"{place}", "test", f"T {place}", choices, int(rng.integers(2))))
    names = {candidate.property.name for candidate in candidate_properties(examples)}
    assert {"the first choice is the right one", "the last choice is the right one"} <= names


def test_a_property_of_ones_own_that_hardly_varies_is_named(arithmetic: list[Example], tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    file.write_text(
        "def ever(e):\n    return True\ndef never(e):\n    return False\ndef varies(e):\n    return e.answer == 0\n",
        encoding="utf-8",
    )
    own = [f"{file}:{name}" for name in ("ever", "never", "varies")]
    always = always_held(arithmetic, own)
    assert "ever" in [of.name for of in always]
    (sentence,) = untold(arithmetic, own, always)
    assert "'never'" in sentence
