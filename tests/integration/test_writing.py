"""Texts that a model writes and a grader grades, kept part by part."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import skilljobs
from skilljobs.errors import InputError, JobFailed
from skilljobs.pipeline import texts as text_making
from skilljobs.plan.reading import read_examples
from skilljobs.progress.reporter import SilentReporter
from skilljobs.tasks.skillmix import SkillMix, SkillMixOptions

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_here")]


@pytest.fixture
def options(tmp_path: Path, small_llama: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tests.integration.graders.CALLS", tmp_path / "calls")
    skills = "abcdef"
    (tmp_path / "skills.csv").write_text(
        "skill,definition,example\n" + "".join(f"{s},Saying {s}.,{s}!\n" for s in skills)
    )
    (tmp_path / "topics.txt").write_text("rain\nsnow\n")
    monkeypatch.setattr(text_making, "WRITTEN_TOGETHER", 20)
    return {
        "task": "skillmix", "data": str(tmp_path / "skills.csv"), "model": str(small_llama), "soft_prompt": "random",
        "prompt_length": 2, "null": 2, "out": str(tmp_path), "run_id": "mine", "reporter": SilentReporter(),
        "report": False,
    }  # fmt: skip


def calls(folder: Path) -> Counter[str]:
    return Counter((folder / "calls").read_text().splitlines())


def test_texts_are_written_once_and_paid_for_once(options: dict[str, Any], tmp_path: Path) -> None:
    options |= {"generate": True, "grader": "tests.integration.graders:grade"}
    (tmp_path / "refuse").touch()
    with pytest.raises(JobFailed, match="no credit left"):
        skilljobs.submit(**options)
    texts = {path.name: path.read_bytes() for path in (tmp_path / "mine" / "texts").glob("written-*")}
    assert len(texts) == 5
    paid = set(calls(tmp_path))
    (tmp_path / "refuse").unlink()
    run = skilljobs.submit(**options)
    assert {path.name: path.read_bytes() for path in (tmp_path / "mine" / "texts").glob("written-*")} == texts
    kept = [json.loads(line) for line in (tmp_path / "mine" / "texts.jsonl").read_text().splitlines()]
    assert len(kept) >= 90
    again = {name for name, count in calls(tmp_path).items() if count > 1}
    assert len(again & paid) <= text_making.GRADED_TOGETHER
    assert all(row["skill_points"] == [float(s == "a") for s in row["skills"]] for row in kept)
    assert {"write", "grade", "collect"} <= set(run.record.stages)
    metrics = {metric.name for metric in run.layout().metrics}
    assert {"asked=a", "grade=a", "grade=b", "skills_shown", "length_point", "k"} <= metrics
    before = (tmp_path / "calls").read_text()
    assert skilljobs.submit(**options).uri == run.uri
    assert (tmp_path / "calls").read_text() == before
    with pytest.raises(InputError, match="holds texts of other requests"):
        skilljobs.submit(**options, seed=1)
    shown = read_examples(SkillMix(SkillMixOptions(data=tmp_path / "mine" / "texts.jsonl", view="shown")), 0.0)[0]
    assert len(shown) == sum(len(row["skills"]) for row in kept)


def test_a_model_is_the_judge(options: dict[str, Any], tmp_path: Path, small_llama: Path) -> None:
    texts = [
        {"skills": ["a", "b"], "topic": f"rain {n}", "text": f"It rains {n} times. " * (1 + n % 3)} for n in range(24)
    ]
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps(text) + "\n" for text in texts))
    run = skilljobs.submit(**options | {"data": str(tmp_path / "texts.jsonl"), "grader": str(small_llama)})
    kept = [json.loads(line) for line in (tmp_path / "mine" / "texts.jsonl").read_text().splitlines()]
    assert [row["text"] for row in kept] == [text["text"] for text in texts]
    assert [row["length_point"] for row in kept] == [float(n % 3 == 0) for n in range(24)]
    assert {point for row in kept for point in row["skill_points"]} <= {0.0, 1.0}
    assert "skills_shown" in {metric.name for metric in run.layout().metrics}


@pytest.mark.parametrize(("changed", "reason"), [
    ({"grader": "tests.integration.graders:nothing", "generate": True}, "has no attribute 'nothing'"),
    ({"grader": "no_such_module:grade", "generate": True}, "No module named"),
    ({"grader": "tiny"}, "--grader needs texts"),
    ({"grader": "./nowhere", "generate": True}, "nowhere"),
    ({}, "let the model write them"),
    ({"generate": True, "view": "shown"}, "needs grades"),
    ({"generate": True, "metric": "tact"}, "no metric 'tact'"),
    ({"generate": True, "out": "foo://x"}, "not a folder that runs can be kept in"),
])  # fmt: skip
def test_what_cannot_work_is_refused_first(options: dict[str, Any], tmp_path: Path, changed: Any, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        skilljobs.submit(**options | changed)
    assert not (tmp_path / "mine").exists()
