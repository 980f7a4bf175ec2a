"""Skill-Mix: a text that shows several skills at once (Yu et al. 2023, arXiv 2310.17567).

The first study of arXiv 2511.21610. Neurons see only what stands in front of the prompt, hence two views: `asked`, in
which they can know the skills that are asked for, and `shown`, in which they can know the text.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

from skilljobs.errors import InputError
from skilljobs.tasks.base import Example, MetricValue, Task, TaskOptions, split_of
from skilljobs.tasks.files import read_table
from skilljobs.tasks.skills import SKILLS_FILE, Skill, draw_requests, has_skills_beside, skills_beside, topics_beside

REQUEST = (
    "Write a short text about {topic}, of at most {sentences}, that shows {count} skills: {names}.\n{skills}\nText:"
)
QUESTION = "{request} {text}\n\nDoes the text show {skill}?\nAnswer:"
YES_NO = (" yes", " no")
VIEWS = ("asked", "shown")
POINTS = ("topic_point", "sense_point", "length_point")


class SkillMix(Task):
    """Skill-Mix: texts that must show several skills on a topic; `--view asked` or `shown`."""

    name = "skillmix"
    choice_probabilities = {"p_yes": 0}  # noqa: RUF012  it is not changed
    takes = frozenset({"view", "generate", "grader"})

    def __init__(self, options: TaskOptions | None = None) -> None:
        super().__init__(options)
        if self.options.view not in (None, *VIEWS):
            raise InputError(f"--view is {self.options.view!r}; it may be {' or '.join(VIEWS)}")
        self.shown = self.options.view == "shown"
        self.group = "skill" if self.shown else None

    @cached_property
    def skills(self) -> dict[str, Skill]:
        return skills_beside(self.options.data)

    @cached_property
    def asked_for(self) -> list[str]:
        """The skills that a text can be asked for: those of the table, and of all rows."""
        table = self.skills if self.options.data is None or has_skills_beside(self.options.data) else ()
        rows = (row["skills"] for row in self.texts() if isinstance(row.get("skills"), list))
        return list(dict.fromkeys([*table, *(str(name) for skills in rows for name in skills)]))

    def rows(self) -> Iterator[Mapping[str, Any]]:
        for text in self.texts():
            if text.get("text") is None:
                raise InputError(
                    "the task skillmix has requests but no texts: let the model write them (--generate), or read texts"
                    " that are written (--data FILE)"
                )
            if not self.shown:
                yield text
                continue
            if text.get("skill_points") is None:
                raise InputError("--view shown needs grades: --grader, or `skill_points` in every row of --data")
            for place, skill in enumerate(text["skills"]):
                yield {**text, "place": place, "skill": skill}

    def texts(self) -> Iterable[Mapping[str, Any]]:
        """The requests, with their texts and grades as far as there are any."""
        data = self.options.data
        if self.options.texts is not None:
            return self.options.texts
        if data is None or data.name == SKILLS_FILE:
            return draw_requests(list(self.skills), topics_beside(data), self.options.seed)
        return read_table(data)

    def example(self, row: Mapping[str, Any], number: int) -> Example:
        check_request(row)
        if not row["text"].strip():
            raise ValueError("its text is empty")
        unit = f"{row['topic']}: {' + '.join(sorted(row['skills']))}"
        example_id = str(row.get("id", number))
        split = str(row.get("split") or split_of(unit))
        if not self.shown:
            return Example(
                example_id=example_id,
                unit=unit,
                split=split,
                text=self.request(row["skills"], row["topic"]),
                target=f" {row['text'].strip()}",
                metrics=self._asked(row["skills"]) | grades(row),
            )
        place, skill = row["place"], row["skill"]
        point = _point(row["skill_points"][place])
        return Example(
            example_id=f"{example_id}/{place}",
            unit=unit,
            split=split,
            text=self.question(row, skill),
            choices=YES_NO,
            answer=0 if point else 1,
            metrics={"grade": point, "skill": skill, "k": len(row["skills"])},
        )

    def request(self, skills: Sequence[str], topic: str) -> str:
        """What is asked for: the skills, each with definition and example as far as known, and the topic."""
        most = most_sentences(skills)
        return REQUEST.format(
            topic=topic,
            sentences=f"{most} sentence{'s' if most > 1 else ''}",
            count=len(skills),
            names=", ".join(skills),
            skills="\n".join(_described(self.skills.get(name, Skill(name))) for name in skills),
        )

    def question(self, row: Mapping[str, Any], skill: str) -> str:
        """The request with its text, and whether that shows `skill`."""
        request = self.request(row["skills"], row["topic"])
        return QUESTION.format(request=request, text=row["text"].strip(), skill=skill)

    def _asked(self, skills: Sequence[str]) -> dict[str, MetricValue]:
        return {f"asked={name}": name in skills for name in self.asked_for} | {"k": len(skills)}


def most_sentences(skills: Sequence[str]) -> int:
    """The sentences that a text may have: one less than its skills."""
    return max(1, len(skills) - 1)


def check_request(row: Mapping[str, Any]) -> None:
    """Refuse a row that asks for nothing.

    Raises:
        KeyError, ValueError: it has no `skills` or `topic`, or its skills are not a list of names.
    """
    skills = row["skills"]
    if not isinstance(skills, list) or not skills or not all(isinstance(name, str) and name for name in skills):
        raise ValueError(f"`skills` is {skills!r}, not a list of names")
    if not isinstance(row["topic"], str):
        raise ValueError(f"`topic` is {row['topic']!r}, not a text")


def grades(row: Mapping[str, Any]) -> dict[str, MetricValue]:
    """The grades of a text: of each skill that was asked for, their share, and of topic, sense and length."""
    points = row.get("skill_points")
    if points is None:
        return {}
    if len(points) != len(row["skills"]):
        raise ValueError(f"it has {len(points)} skill_points for {len(row['skills'])} skills")
    by_skill: dict[str, MetricValue] = {
        f"grade={name}": _point(point) for name, point in zip(row["skills"], points, strict=True)
    }
    others: dict[str, MetricValue] = {name: _point(row[name]) for name in POINTS if row.get(name) is not None}
    return by_skill | {"skills_shown": sum(map(float, points)) / len(points)} | others


def _described(skill: Skill) -> str:
    definition = f": {skill.definition}" if skill.definition else ""
    example = f" Example: {skill.example}" if skill.example else ""
    return f"- {skill.name}{definition}{example}"


def _point(value: Any) -> bool:
    if float(value) not in (0.0, 1.0):
        raise ValueError(f"a point is {value}, neither 0 nor 1")
    return bool(float(value))
