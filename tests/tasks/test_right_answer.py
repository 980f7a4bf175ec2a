"""The right answer is a metric where the choices are the same in all examples."""

from pathlib import Path
from typing import Any

import pytest

from skilljobs.errors import InputError
from skilljobs.plan.job_plan import JobPlan, plan_job
from skilljobs.spec import JobSpec
from skilljobs.tasks.base import Example
from skilljobs.tasks.external_kinds import check_columns
from skilljobs.tasks.external_metrics import external_metrics
from skilljobs.tasks.right_answer import answer_metrics
from tests.tables import write_jsonl


def examples(choices: tuple[str, ...], answers: list[int], **metrics: list[Any]) -> list[Example]:
    return [
        Example(str(n), str(n), "test", "t", choices, answer, metrics={name: of[n] for name, of in metrics.items()})
        for n, answer in enumerate(answers)
    ]


def names(rows: list[Example]) -> list[str]:
    return [metric.name for metric in answer_metrics(rows, external_metrics(rows))]


def test_each_answer_is_a_metric_named_without_the_space_in_front_of_it() -> None:
    rows = examples((" good", " bad", " fair"), [0, 1, 0, 1])
    assert names(rows) == ["answer=bad", "answer=good"]
    good = answer_metrics(rows, [])[1]
    assert [good.value(row) for row in rows] == [1, 0, 1, 0]
    assert not good.nullable
    assert names(examples((" a", "a"), [0, 1])) == ["answer= a", "answer=a"]
    assert names(examples((" ", "a"), [0, 1])) == ["answer= ", "answer=a"]


def test_choices_in_another_order_are_the_same_choices() -> None:
    rows = [*examples((" good", " bad"), [0, 1]), *examples((" bad", " good"), [0, 1])]
    assert [answer_metrics(rows, [])[0].value(row) for row in rows] == [0, 1, 1, 0]


def test_there_is_none_where_choices_differ_or_the_answer_does_not_vary() -> None:
    assert names([*examples((" a", " b"), [0, 1]), *examples((" a", " c"), [0])]) == []
    assert names(examples((" a", " b"), [1, 1, 1])) == []
    assert names([*examples((" a", " b"), [0, 1]), Example("o", "o", "test", "t", target="x")]) == []
    assert names([Example("o", "o", "test", "t", target="x")]) == []
    assert names([]) == []
    many = tuple(f" {n}" for n in range(51))
    assert names(examples(many, list(range(51)))) == []


@pytest.mark.parametrize(
    "column",
    [[True, False, True], [0, 1, 0], [1.0, 0.0, 1.0], ["yes", "no", "yes"]],
    ids=["bool", "index", "float", "text"],
)
def test_a_column_that_tells_the_answer_is_not_doubled(column: list[Any]) -> None:
    assert names(examples((" a", " b"), [0, 1, 0], label=column)) == []
    assert len(names(examples((" a", " b"), [0, 1, 0], label=[*column[:2], column[1]]))) == 2


def test_a_column_of_the_same_name_is_refused() -> None:
    with pytest.raises(InputError, match="'answer=a' has the name of the metric of a right answer"):
        names(examples((" a", " b"), [0, 1, 0], **{"answer=a": [3, 4, 5]}))


@pytest.mark.parametrize("name", ["answer", "text", "unit"])
def test_a_metric_named_like_a_part_of_an_example_is_refused(name: str) -> None:
    """It was correlated as what the stored example has there, or not at all."""
    with pytest.raises(InputError, match=f"'{name}' has the name of a part of an example"):
        check_columns(examples((" a", " b"), [0, 1], **{name: [1, 2]}))


def plan_of(path: Path, **spec: Any) -> JobPlan:
    rows = [
        {"text": f"row {n}:", "choices": [" good", " bad"], "answer": int(n % 3 == 0), "words": n, "split": split}
        | {"chars": 2 * n + n % 2, "rare": n in (3, 7, 100)}
        for n, split in enumerate(["test"] * 60 + ["train"] * 60 + ["validation"] * 9)
    ]
    return plan_job(JobSpec(data=str(write_jsonl(path / "t.jsonl", rows)), model="tiny", **spec))


def test_the_plan_explains_it_and_names_what_misleads(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    line = plan.columns.line
    assert line.endswith("; the right answer, as the choices are the same in all rows: answer=bad, answer=good")
    assert [metric.name for metric in plan.external][-2:] == ["answer=bad", "answer=good"]
    assert [trap.partition(":")[0] for trap in plan.traps] == [
        "rare is yes for only 2 of 60",
        "words and chars are nearly the same metric (r = +1.000)",
    ]
    asked = plan_of(tmp_path, metric=("confidence", "answer"))
    assert [metric.name for metric in asked.external] == ["answer=bad", "answer=good"]
    without = plan_of(tmp_path, metric=("confidence", "words"))
    assert "answer=" not in without.columns.line
    assert without.traps == []


def test_hans_has_its_label_and_no_second_one() -> None:
    columns = {metric.column for metric in plan_job(JobSpec(task="hans", model="tiny", limit=60)).external}
    assert columns == {"heuristic", "label", "subcase"}
