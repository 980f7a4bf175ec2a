from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from skilljobs.errors import InputError
from skilljobs.plan.job_plan import JobPlan, plan_job
from skilljobs.plan.reading import read_rows
from skilljobs.plan.row_reader import RowReader
from skilljobs.plan.row_sets import RowSet
from skilljobs.plan.sharding import MOST_SHARDS, sample, shard_examples, tuning_sample
from skilljobs.plan.work import most_tuning_steps
from skilljobs.spec import JobSpec
from skilljobs.tasks.base import Example, Task
from skilljobs.tasks.external_columns import ExternalColumn
from tests.tables import random_rows, write_jsonl


def plan(**spec: Any) -> JobPlan:
    return plan_job(JobSpec(**({"task": "arithmetic"} | spec)))


def numbered(count: int) -> list[Example]:
    return [Example(str(n), str(n), "test", "t", target="x", metrics={"g": "ab"[n % 3 == 0]}) for n in range(count)]


def test_shards_hold_each_test_example_once_and_one_half_each() -> None:
    planned = plan()
    ids = [example.example_id for example in planned.test]
    assert len(ids) == len(set(ids)) > 3000
    assert all(len({example.half for example in shard}) == 1 for shard in planned.shards)
    assert planned.shards[0][0].half != planned.shards[1][0].half
    units = [{e.unit for e in group} for group in (planned.train, planned.validation, planned.test)]
    assert sum(map(len, units)) == len(set.union(*units))
    halves = [{e.unit for e in planned.test if e.half == half} for half in (0, 1)]
    assert not halves[0] & halves[1]


class Given(Task):
    """A task whose examples are given."""

    name = "given"
    group = "g"

    def __init__(self, examples: Sequence[Example]) -> None:
        super().__init__()
        self.given = examples

    def rows(self) -> Iterable[Mapping[str, Any]]:
        return ({"place": place} for place in range(len(self.given)))

    def example(self, row: Mapping[str, Any], number: int) -> Example:
        return self.given[row["place"]]


def reader_of(examples: Sequence[Example]) -> RowReader:
    return read_rows(Given(examples))


def ids_of(examples: Sequence[Example], rows: Iterable[int]) -> list[str]:
    return [examples[row].example_id for row in rows]


def shards_of(examples: Sequence[Example], size: int, seed: int) -> list[list[str]]:
    reader = reader_of(examples)
    sharding = shard_examples(reader, reader.rows_of("test"), size, seed)
    placed = [pair for rows, places in sharding.located() for pair in zip(places, rows, strict=True)]
    ids = iter(ids_of(examples, [row for _, row in sorted(placed)]))
    return [list(islice(ids, count)) for count in sharding.order.sizes]


def test_rows_are_permuted_by_seed_and_never_more_than_the_most_shards() -> None:
    rows = numbered(5000)
    first = shards_of(rows, 100, seed=0)
    assert first == shards_of(rows[::-1], 100, seed=0)
    assert first != shards_of(rows, 100, seed=1)
    assert first[0] != sorted(first[0], key=int)
    assert len(shards_of(rows, 1, seed=0)) <= MOST_SHARDS


def test_a_limit_keeps_the_shares_of_the_groups() -> None:
    examples = numbered(3001)
    reader, rows = reader_of(examples), RowSet.of(np.arange(3001))
    drawn = sample(reader, rows, 100, ExternalColumn("g"), seed=0)
    assert Counter(str(examples[row].metrics["g"]) for rows in drawn.blocks() for row in rows) == {"a": 67, "b": 33}
    assert len(sample(reader, rows, 7, ExternalColumn("g"), 0)) == 7
    whole = sample(reader, rows, 5000, ExternalColumn("g"), 0)
    assert (whole.rows is rows, np.concatenate(list(whole.blocks())).tolist()) == (True, list(range(3001)))


def test_default_metrics_and_populations() -> None:
    planned = plan(limit=100)
    names = [metric.name for metric in planned.layout.metrics]
    assert {"operation=addition", "digits", "carry", "last_digit_decides", "confidence", "text_tokens"} <= set(names)
    assert names[-16:] == [f"null:{k}" for k in range(16)]
    assert planned.layout.reported_populations == [
        "all", "operation=addition", "operation=division", "operation=multiplication", "operation=subtraction",
        "within:operation",
    ]  # fmt: skip
    assert [metric.name for metric in planned.layout.metrics if metric.nullable] == ["carry"]
    assert len(planned.test) == 100
    # a small --limit tunes on a small share too, of each group alike
    share = 100 / 3105
    assert planned.tuned_on_of == (4038, 857)
    assert (len(planned.train), len(planned.validation)) == (round(share * 4038), 32)
    groups = Counter(example.metrics["operation"] for example in planned.train)
    assert len(groups) == 4
    assert max(groups.values()) - min(groups.values()) <= 3
    assert most_tuning_steps(planned.spec, len(planned.train)) == 8 * 9


def test_without_a_limit_all_is_tuned_on() -> None:
    rows = [replace(example, split=split) for split in ("train", "validation") for example in numbered(300)]
    rows = [replace(example, example_id=str(n), unit=str(n)) for n, example in enumerate(rows)]
    reader = reader_of(rows)
    train, validation = tuning_sample(reader, 1.0, None, seed=0)
    assert [row for drawn in (train, validation) for rows in drawn.blocks() for row in rows] == list(range(600))
    train, validation = tuning_sample(reader, 0.5, ExternalColumn("g"), seed=0)
    assert (len(train), len(validation)) == (150, 150)
    train, validation = tuning_sample(reader_of(rows[:310]), 0.01, None, seed=0)
    assert (len(train), len(validation)) == (128, 10)
    assert most_tuning_steps(JobSpec(task="arithmetic"), 128) == 300
    assert most_tuning_steps(JobSpec(task="arithmetic", limit=60, tune_steps=500), 128) == 500
    assert most_tuning_steps(JobSpec(task="arithmetic", limit=60), 128) == 64


def test_chosen_metrics_only() -> None:
    planned = plan(metric=("operation", "entropy"), null=0, by=("carry",))
    assert [m.name for m in planned.layout.metrics] == [
        "operation=addition", "operation=division", "operation=multiplication", "operation=subtraction", "entropy",
    ]  # fmt: skip
    assert planned.layout.populations == ("all", "carry=false", "carry=true")


def test_open_ended_tables_have_no_choice_metrics(tmp_path: Path) -> None:
    rows = [{"text": f"{n}:", "target": " x"} for n in range(60)]
    data = write_jsonl(tmp_path / "t.jsonl", rows)
    planned = plan(task=None, data=str(data), model="tiny", null=0)
    assert [metric.name for metric in planned.layout.metrics] == ["confidence", "text_tokens"]
    with pytest.raises(InputError, match="'margin' needs choices"):
        plan(task=None, data=str(data), model="tiny", metric=("margin",))


def test_the_spec_and_the_data_are_in_the_digests(tmp_path: Path) -> None:
    assert JobSpec(task="arithmetic").digest != JobSpec(task="arithmetic", seed=1).digest
    rows = random_rows(60)
    first = plan(task=None, model="tiny", data=str(write_jsonl(tmp_path / "a.jsonl", rows)))
    rows[5]["words"] += 1
    second = plan(task=None, model="tiny", data=str(write_jsonl(tmp_path / "b.jsonl", rows)))
    assert first.examples_digest != second.examples_digest


def test_a_text_longer_than_the_context_is_named(small_llama: Path, tmp_path: Path) -> None:
    rows = [*random_rows(60), {"example_id": "long", "text": "1" * 600, "choices": [" a", " b"], "answer": 0}]
    with pytest.raises(InputError, match=r"row 61 is bad: it takes 60\d tokens, room for 494"):
        plan(task=None, data=str(write_jsonl(tmp_path / "t.jsonl", rows)), model=str(small_llama))


@pytest.mark.parametrize(
    ("column", "reason"), [("confidence", "'confidence' has the name"), ("null:3", "'null:3' has the name")]
)
def test_a_column_cannot_take_the_name_of_an_own_metric(tmp_path: Path, column: str, reason: str) -> None:
    rows = [row | {column: number % 7} for number, row in enumerate(random_rows(60))]
    with pytest.raises(InputError, match=reason):
        plan(task=None, data=str(write_jsonl(tmp_path / "t.jsonl", rows)), model="tiny")


def test_tuning_on_choices_needs_choices(tmp_path: Path) -> None:
    data = write_jsonl(tmp_path / "t.jsonl", [{"text": f"{n}:", "target": " x"} for n in range(60)])
    with pytest.raises(InputError, match="--tune-loss choices needs choices"):
        plan(task=None, data=str(data), model="tiny", tune_loss="choices")


def test_a_limit_draws_the_same_rows_whatever_they_are_grouped_by() -> None:
    def drawn(*by: str) -> list[str]:
        plan = plan_job(JobSpec(task="arithmetic", limit=50, soft_prompt="random", by=by))
        return sorted(example.example_id for example in plan.test)

    assert drawn() == drawn("operation") == drawn("digits") == drawn("answer_negative", "operation")
