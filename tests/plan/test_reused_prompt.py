"""What is said about a soft prompt that comes from a run with other settings."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from skilljobs.pipeline.opening import open_run, planned_fields
from skilljobs.pipeline.run_job import read_chat
from skilljobs.plan.job_plan import plan_job
from skilljobs.plan.reused_prompt import differences
from skilljobs.spec import JobSpec
from skilljobs.store.run import PROMPT_NAME
from tests.chats import CHATML, save_chat_llama
from tests.lm.test_adapter import save_adapter


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save_chat_llama(tmp_path / "model", CHATML)


def spec(model: Path, **options: Any) -> JobSpec:
    general: dict[str, Any] = {"task": "arithmetic", "model": str(model), "limit": 8, "soft_prompt": "random"}
    return JobSpec(**general | options)


def differences_after(tmp_path: Path, first: JobSpec, second: JobSpec) -> list[str]:
    run = open_run(str(tmp_path / "run"), "run", plan_job(first, read_chat=read_chat), ())
    run.folder.write(PROMPT_NAME, b"")
    fields = planned_fields(plan_job(second, read_chat=read_chat))
    return differences(JobSpec.from_json(second.as_json() | {"soft_prompt": run.uri}), fields)


def test_the_same_settings_are_not_worth_a_word(model: Path, tmp_path: Path) -> None:
    assert differences_after(tmp_path, spec(model, chat=True), spec(model, chat=True, limit=9, null=1)) == []


def test_other_texts_are_named(model: Path, tmp_path: Path) -> None:
    said = differences_after(tmp_path, spec(model), spec(model, chat=True, system="Hm.", few_shot=2))
    assert said == ["chat = False there, True here", "system = None there, 'Hm.' here", "few_shot = 0 there, 2 here"]


def test_another_adapter_is_named_and_a_moved_model_is_not(model: Path, tmp_path: Path) -> None:
    adapter = save_adapter(model, tmp_path / "adapter")
    shutil.copytree(model, tmp_path / "moved")
    assert differences_after(tmp_path / "first", spec(model), spec(tmp_path / "moved")) == []
    said = differences_after(tmp_path, spec(model), spec(model, adapter=str(adapter)))
    assert said == [f"adapter = None there, {str(adapter)!r} here"]


def test_a_file_says_nothing_of_where_it_comes_from(model: Path, tmp_path: Path) -> None:
    (tmp_path / "prompt.safetensors").write_bytes(b"")
    named = JobSpec(task="arithmetic", soft_prompt=str(tmp_path / "prompt.safetensors"))
    assert differences(named, {}) == []
    assert differences(JobSpec(task="arithmetic"), {}) == []
