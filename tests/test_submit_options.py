# mypy: warn-unused-ignores
"""The options of `submit` as types, and its arguments as it checks them."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import skilljobs
from skilljobs.errors import InputError
from skilljobs.progress.reporter import SilentReporter
from skilljobs.submit_options import SubmitOptions
from tests.typed_options import PATH, options, source

if TYPE_CHECKING:
    # mypy says so if one of the ignored errors is none
    skilljobs.submit(
        task="arithmetic", limit=4, metric=["confidence"], units="heads", model=Path("m"), label_words=None
    )
    skilljobs.submit(limt=4)  # type: ignore[call-arg]
    skilljobs.submit(limit="4")  # type: ignore[arg-type]
    skilljobs.submit(tokens="all")  # type: ignore[arg-type]
    skilljobs.submit(metric=4)  # type: ignore[arg-type]


def test_they_are_those_that_are_declared() -> None:
    assert PATH.read_text(encoding="utf-8") == source(), "python -m tests.typed_options writes them anew"
    assert set(SubmitOptions.__annotations__) == set(options())


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"limt": 4}, r"submit has no option 'limt' \(did you mean 'limit'\?\)"),
        ({"limt": None}, "submit has no option 'limt'"),
        ({"replica": 2}, r"submit has no option 'replica' \(did you mean 'replicas'"),
        ({"limit": "4"}, "--limit is '4'; it takes a whole number"),
        ({"limit": True}, "--limit is True; it takes a whole number"),
        ({"metric": 4}, "--metric is 4; it takes a text, or several in a list"),
        ({"metric": ["confidence", 4]}, "--metric is 4; it takes a text"),
        ({"tokens": "all"}, "--tokens is 'all'; it may be mean, each or last"),
        ({"replicas": "2"}, "--replicas is '2'; it takes a whole number"),
        ({"replicas": 0}, "--replicas is 0; it must be at least 1"),
        ({"gpus_per_replica": True}, "--gpus-per-replica is True; it takes a whole number"),
        ({"shard_timeout": "1"}, "--shard-timeout is '1'; it takes a number"),
        ({"report": "no"}, "--report is 'no'; it takes true or false"),
        ({"run_id": 5}, "--run-id is 5; it takes a text"),
        ({"out": 5}, "--out is 5; it takes a text"),
        ({"out": Path("s3:/")}, "--out 's3:' names no folder"),
        ({"address": 5}, "--address is 5; it takes a text"),
    ],
)
def test_a_wrong_name_or_type_is_named(tmp_path: Path, given: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        skilljobs.submit(**{"task": "arithmetic", "out": tmp_path, "reporter": SilentReporter(), **given})
    assert list(tmp_path.iterdir()) == []
