from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from skilljobs.errors import InputError
from skilljobs.plan.reading import read_examples
from skilljobs.tasks.base import Example
from skilljobs.tasks.external_metrics import external_metrics
from skilljobs.tasks.skillmix import SkillMix, SkillMixOptions
from skilljobs.tasks.skills import OWN_SKILLS, OWN_TOPICS, REQUESTS, draw_requests
from tests.conftest import SHARED_DATA
from tests.tables import write_jsonl

GRADED = SHARED_DATA / "skillmix" / "graded.jsonl.gz"
TEXT = {
    "skills": ["irony", "tact"],
    "topic": "rain",
    "text": " Lovely day. ",
    "skill_points": [1.0, 0.0],
    "sense_point": 1,
}


def read(rows: list[dict[str, Any]], path: Path, **options: Any) -> list[Example]:
    return read_examples(SkillMix(SkillMixOptions(data=write_jsonl(path / "texts.jsonl", rows), **options)), 0.0)[0]


def test_asked_the_request_stands_in_front_and_the_text_is_the_target(tmp_path: Path) -> None:
    (tmp_path / "skills.csv").write_text("skill,definition,example\nirony,Saying the opposite.,Nice weather!\nwit,,\n")
    (example,) = read([TEXT], tmp_path)
    assert example.text == (
        "Write a short text about rain, of at most 1 sentence, that shows 2 skills: irony, tact.\n"
        "- irony: Saying the opposite. Example: Nice weather!\n- tact\nText:"
    )
    assert (example.target, example.choices, example.unit) == (" Lovely day.", None, "rain: irony + tact")
    assert example.metrics == {
        "asked": {"irony": True, "wit": False, "tact": True}, "k": 2, "grade": {"irony": True, "tact": False},
        "skills_shown": 0.5, "sense_point": True,
    }  # fmt: skip


def test_without_a_table_every_skill_of_the_rows_can_be_asked_for(tmp_path: Path) -> None:
    first, second = read([TEXT, TEXT | {"skills": ["wit", "irony"]}], tmp_path)
    assert first.metrics["asked"] == {"irony": True, "tact": True, "wit": False}
    assert second.metrics["asked"] == {"irony": True, "tact": False, "wit": True}


def test_shown_there_is_an_example_for_each_skill(tmp_path: Path) -> None:
    first, second = read([TEXT], tmp_path, view="shown")
    assert first.text.endswith("Text: Lovely day.\n\nDoes the text show irony?\nAnswer:")
    assert (first.choices, first.answer, second.answer) == ((" yes", " no"), 0, 1)
    assert first.unit == second.unit
    assert first.metrics == {"grade": True, "skill": "irony", "k": 2}
    assert SkillMix(SkillMixOptions(view="shown")).group == "skill"


@pytest.mark.parametrize(("row", "view", "reason"), [
    ({"text": None}, "asked", "let the model write them"),
    ({"text": " "}, "asked", "its text is empty"),
    ({"skill_points": None}, "shown", "needs grades"),
    ({"skill_points": [1.0]}, "asked", "has 1 skill_points for 2 skills"),
    ({"skill_points": [1.0, 0.5]}, "asked", "a point is 0.5"),
    ({"skills": "irony, tact"}, "asked", "`skills` is 'irony, tact', not a list of names"),
])  # fmt: skip
def test_what_cannot_be_read_is_named(tmp_path: Path, row: dict[str, Any], view: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        read([TEXT | row], tmp_path, view=view)


def test_requests_are_drawn_without_repetition() -> None:
    names = [skill.name for skill in OWN_SKILLS]
    drawn = list(draw_requests(names, OWN_TOPICS, seed=0))
    assert len({(*row["skills"], row["topic"]) for row in drawn}) == REQUESTS
    assert Counter(len(row["skills"]) for row in drawn).keys() == {2, 3, 4}
    assert list(draw_requests(names, OWN_TOPICS, seed=0)) == drawn
    assert len(list(draw_requests(["a", "b", "c"], ["x", "y"], seed=0))) == 8


@pytest.mark.data
def test_real_texts() -> None:
    if not GRADED.exists():
        pytest.skip("the real data sets are not here")
    asked = read_examples(SkillMix(SkillMixOptions(data=GRADED)), 0.0)[0]
    shown = read_examples(SkillMix(SkillMixOptions(data=GRADED, view="shown")), 0.0)[0]
    assert (len(asked), len(shown), len({e.unit for e in asked})) == (190, 720, 30)
    assert Counter(e.answer for e in shown) == {0: 382, 1: 338}
    metrics = {metric.name: metric for metric in external_metrics(asked)}
    assert Counter(metric.column for metric in metrics.values() if metric.level) == {"asked": 10, "grade": 10}
    assert metrics["grade=metaphor"].nullable
    assert not metrics["asked=metaphor"].nullable
    assert 'Example: "Why are you lying to me?"' in asked[0].text
