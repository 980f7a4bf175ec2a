"""Columns are told by their values, with quick ways for the usual types: the outcome does not depend on these."""

from decimal import Decimal

import pytest

from skilljobs.plan.checks import MOST_BYTES, longest_bytes
from skilljobs.tasks.base import LARGEST_VALUE, Example, MetricValues, check_example
from skilljobs.tasks.example_chunks import Chunk
from skilljobs.tasks.external_columns import ExternalColumn, external_columns
from skilljobs.tasks.external_kinds import mixed_kinds


class Count(int):
    """A number of a type of its own."""


def example(example_id: str, **metrics: object) -> Example:
    values: MetricValues = metrics  # type: ignore[assignment]
    return Example(example_id, example_id, "test", "text", target="t", metrics=values)


def test_columns_come_in_the_order_of_their_first_appearance_whatever_they_hold() -> None:
    examples = [
        example("a", x=None, named={"q": 1, "p": 2}),
        example("b", named=3.0, y=Count(1)),
        example("c", named={"r": 1}, x=2),
    ]
    expected = [("x", None), ("named", "q"), ("named", "p"), ("named", None), ("y", None), ("named", "r")]
    assert external_columns(examples) == [ExternalColumn(column, key) for column, key in expected]
    assert [ExternalColumn("named").value(e) for e in examples] == [None, 3.0, None]
    assert [ExternalColumn("named", "q").value(e) for e in examples] == [1, None, None]


def test_the_values_of_another_kind_than_most_are_named_and_a_number_of_any_type_is_a_number() -> None:
    examples = [
        example("a", x=1, y=True),
        example("b", x="text", y=None),
        example("c", x=Count(3), y=2.0),
        example("d", x={"p": 1}, y=3),
        example("e", x=0.5, y=False),
    ]
    assert mixed_kinds(examples) == {
        "b": "`x` is 'text', and most rows have numbers there",
        "d": "`x` is {'p': 1}, and most rows have numbers there",
        "c": "`y` is 2.0, and most rows have bools there",
    } | {"d": "`y` is 3, and most rows have bools there"}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -2 * LARGEST_VALUE, 2**63, "\ud800", Decimal(1), [1]])
def test_what_is_no_value_of_a_metric_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        check_example(example("a", x=value))


@pytest.mark.parametrize("value", [None, True, -LARGEST_VALUE, 2**63 - 1, "é", Count(3), {"p": 1.5, "q": None}])
def test_what_is_one_is_kept(value: object) -> None:
    assert check_example(example("a", x=value)).metrics["x"] == value


@pytest.mark.parametrize("text", ["", "abc", "é", "漢字", "😀😀"])
def test_no_text_has_more_bytes_than_its_quick_bound(text: str) -> None:
    long = Example("a", "a", "test", text, choices=(" x", " 😀"), answer=0)
    assert longest_bytes(long) <= MOST_BYTES * Chunk.of([long], [1]).lengths[0]
