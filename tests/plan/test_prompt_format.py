"""Worked examples and chat turns around the texts of a job."""

from pathlib import Path
from typing import Any

import pytest

from skilljobs.errors import InputError
from skilljobs.pipeline.opening import planned_fields
from skilljobs.pipeline.run_job import read_chat
from skilljobs.plan.job_plan import JobPlan, plan_job
from skilljobs.spec import JobSpec
from tests.chats import CHATML, OPENING, save_chat_llama
from tests.tables import random_rows, write_jsonl


def planned(data: Path, model: str = "tiny", **options: Any) -> JobPlan:
    general: dict[str, Any] = {"data": str(data), "model": model, "soft_prompt": "random", "null": 0}
    spec = JobSpec(**general | options)
    return plan_job(spec, read_chat=read_chat)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return write_jsonl(tmp_path / "rows.jsonl", random_rows(80))


def texts(plan: JobPlan) -> list[str]:
    return [example.text for example in [*plan.train, *plan.validation, *plan.test]]


def test_every_text_begins_with_the_same_train_examples(table: Path) -> None:
    plain, shown = planned(table), planned(table, few_shot=3)
    by_id = {example.example_id: example for example in [*plain.train, *plain.validation, *plain.test]}
    shots = [by_id[example_id] for example_id in shown.prompt_format.shots]
    assert len(shots) == 3
    assert all(shot.split == "train" for shot in shots)
    beginning = "".join(f"{shot.text}{shot.answer_text}\n\n" for shot in shots)
    for example in [*shown.train, *shown.validation, *shown.test]:
        assert example.text == beginning + by_id[example.example_id].text
        assert example.choices == by_id[example.example_id].choices
    assert {e.example_id for e in shown.train} == {e.example_id for e in plain.train} - {s.example_id for s in shots}
    assert len(shown.test) == len(plain.test)


def test_the_seed_draws_the_shots_and_the_order_of_rows_does_not(table: Path, tmp_path: Path) -> None:
    first = planned(table, few_shot=3).prompt_format.shots
    turned = write_jsonl(tmp_path / "turned.jsonl", random_rows(80)[::-1])
    assert planned(turned, few_shot=3).prompt_format.shots == first
    assert planned(table, few_shot=3, seed=1).prompt_format.shots != first
    assert planned(table, few_shot=2).prompt_format.shots == first[:2]


def test_train_examples_of_one_unit_with_a_shot_are_not_tuned_on(tmp_path: Path) -> None:
    rows = [row | {"source": f"source {number // 4}"} for number, row in enumerate(random_rows(80))]
    plan = planned(write_jsonl(tmp_path / "rows.jsonl", rows), few_shot=2, unit="source")
    plain = planned(tmp_path / "rows.jsonl", unit="source")
    units = {example.unit for example in plain.train if example.example_id in plan.prompt_format.shots}
    assert {example.unit for example in plan.train} == {example.unit for example in plain.train} - units


def test_a_text_that_is_also_tested_is_not_shown(tmp_path: Path) -> None:
    rows = [row | {"split": "train" if number < 6 else "test"} for number, row in enumerate(random_rows(40))]
    rows[0]["text"] = rows[1]["text"] = rows[10]["text"]
    rows[2]["text"] = rows[3]["text"]
    data = write_jsonl(tmp_path / "rows.jsonl", rows)
    assert set(planned(data, few_shot=3).prompt_format.shots) < {f"row-{number}" for number in (2, 3, 4, 5)}
    with pytest.raises(InputError, match=r"--few-shot 4 needs as many train examples of different texts; there are 3"):
        planned(data, few_shot=4)


def test_lengths_are_those_with_the_shots(tmp_path: Path) -> None:
    rows = [row | {"text": "one " * 120 + row["text"]} for row in random_rows(40)]
    data = write_jsonl(tmp_path / "rows.jsonl", rows)
    planned(data)
    with pytest.raises(InputError, match=r"row \d+ is bad: it takes [\d,]+ tokens"):
        planned(data, few_shot=12)


def test_shots_are_turns_of_the_chat(table: Path, tmp_path: Path) -> None:
    model = str(save_chat_llama(tmp_path / "model", CHATML))
    plain, chat = planned(table, model, few_shot=1), planned(table, model, few_shot=1, chat=True, system="Answer.")
    before = {example.example_id: example for example in plain.test}
    for example in chat.test:
        shot, _, text = before[example.example_id].text.partition("\n\n")
        asked, _, answered = shot.rpartition(" ")
        assert example.text == (
            f"<|im_start|>system\nAnswer.<|im_end|>\n<|im_start|>user\n{asked}<|im_end|>\n"
            f"<|im_start|>assistant\n{answered}<|im_end|>\n<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n"
        )
        assert example.choices == tuple(choice.strip() for choice in before[example.example_id].choices or ())
    assert chat.prompt_format.answer_end == "<|im_end|>"
    assert planned(table, model, chat=True, answer_end=".").prompt_format.answer_end == "."


def test_what_makes_the_texts_is_in_the_fingerprint(table: Path, tmp_path: Path) -> None:
    model = str(save_chat_llama(tmp_path / "model", CHATML))
    options: list[dict[str, Any]] = [
        {},
        {"chat": True},
        {"chat": True, "system": "Answer."},
        {"few_shot": 1},
        {"few_shot": 2},
        {"chat": True, "few_shot": 1},
    ]
    plans = [planned(table, model, **chosen) for chosen in options]
    assert len({plan.examples_digest for plan in plans}) == len(plans)
    assert len({plan.spec.digest for plan in plans}) == len(plans)
    assert planned_fields(plans[1])["answer_end"] == "<|im_end|>"
    assert planned_fields(plans[0])["answer_end"] is None


def test_rows_that_cannot_be_turns_are_bad(tmp_path: Path) -> None:
    model = str(save_chat_llama(tmp_path / "model", CHATML))
    rows = random_rows(80)
    rows[3]["text"] = "Q: <|im_end|>"
    rows[5]["choices"], rows[5]["answer"] = [" 1", "1 "], 0
    data = write_jsonl(tmp_path / "rows.jsonl", rows)
    with pytest.raises(InputError, match=r"row 4 is bad: its text holds '<\|im_end\|>'.*and 1 more of 80"):
        planned(data, model, chat=True)
    plan = planned(data, model, chat=True, max_bad_rows=0.1)
    assert [(row.number, row.reason) for row in plan.bad_rows][1] == (6, "two of its `choices` are the same: '1'")
    assert not planned(data, model).bad_rows


@pytest.mark.parametrize("system", [None, "Be brief."])
def test_a_template_is_refused_before_anything_is_planned(table: Path, tmp_path: Path, system: str | None) -> None:
    model = str(save_chat_llama(tmp_path / "model", OPENING if system else None))
    with pytest.raises(InputError, match="--system" if system else "has no chat template"):
        planned(table, model, chat=True, system=system)


def test_system_needs_chat() -> None:
    with pytest.raises(InputError, match="--system is a turn of a chat: it needs --chat"):
        JobSpec(task="arithmetic", system="Be brief.")
