"""Skill-Mix: a text that shows several skills at once (Yu et al. 2023, arXiv 2310.17567).

The first study of arXiv 2511.21610. Neurons can know only what comes before the soft prompt, hence two views: in
`asked` they can know the skills that are asked for, in `shown` they can know the text.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from skilljobs.errors import InputError
from skilljobs.options import option
from skilljobs.tasks.base import Example, MetricValue, MetricValues, TaskOptions, split_of
from skilljobs.tasks.row_files import read_table
from skilljobs.tasks.skills import (
    SKILLS_FILE,
    Skill,
    draw_requests,
    has_skills_beside,
    skills_beside,
    skills_table,
    topics_beside,
)
from skilljobs.tasks.text_task import Row, TextOptions, TextTask

REQUEST = (
    "Write a short text about {topic}, of at most {sentences}, that shows {count} skills: {names}.\n{skills}\nText:"
)
QUESTION = "{request} {text}\n\nDoes the text show {skill}?\nAnswer:"
YES_NO = (" yes", " no")
POINTS = ("topic_point", "sense_point", "length_point")
_SENTENCE_END = re.compile(r"[.!?]+(?=\s|$|[\"'])")


@dataclass(frozen=True)
class SkillMixOptions(TextOptions):
    """What the neurons are to see."""

    view: Literal["asked", "shown"] | None = option(
        None, "Read the neurons after the request, or after the text as well.", default_text="asked"
    )


class SkillMix(TextTask):
    """Skill-Mix: texts that must show several skills on a topic; `--view asked` or `shown`."""

    name = "skillmix"
    options_type = SkillMixOptions
    options: SkillMixOptions
    choice_probabilities = {"p_yes": 0}  # noqa: RUF012  it never changes
    accepts = frozenset[str]()

    def __init__(self, options: TaskOptions | None = None) -> None:
        super().__init__(options)
        self.shown = self.options.view == "shown"
        self.group = "skill" if self.shown else None

    @cached_property
    def skills(self) -> dict[str, Skill]:
        return skills_beside(self.options.data)

    @cached_property
    def asked_for(self) -> list[str]:
        """The skills that a text can be asked for: those of the table, and of all rows."""
        table = self.skills if self.options.data is None or has_skills_beside(self.options.data) else ()
        rows = (row["skills"] for row in self._texts() if isinstance(row.get("skills"), list))
        return list(dict.fromkeys([*table, *(str(name) for skills in rows for name in skills)]))

    def rows(self) -> Iterator[Mapping[str, Any]]:
        for text in self._texts():
            if text.get("text") is None:
                raise InputError(
                    "the task skillmix has requests but no texts: let the model write them (--generate), or read"
                    " written ones (--data FILE)"
                )
            if not self.shown:
                yield text
                continue
            if text.get("skill_points") is None:
                raise InputError("--view shown needs grades: --grader, or `skill_points` in every row of --data")
            for place, skill in enumerate(text["skills"]):
                yield {**text, "place": place, "skill": skill}

    def _texts(self) -> Iterable[Mapping[str, Any]]:
        """The requests, with those texts and grades that exist."""
        data = self.options.data
        if self.texts is not None:
            return self.texts
        if data is None or data.name == SKILLS_FILE:
            return draw_requests(list(self.skills), topics_beside(data), self.options.seed)
        return read_table(data)

    def requests(self) -> list[Row]:
        requests: list[Row] = []
        ids: set[object] = set()
        for number, given in enumerate(self._texts(), start=1):
            row = {**given, "id": given.get("id") or f"{number:05d}"}
            try:
                check_request(row)
            except KeyError as error:
                raise InputError(f"{self.options.data}: row {number} has no column {error}") from None
            except ValueError as error:
                raise InputError(f"{self.options.data}: row {number}: {error}") from None
            if row["id"] in ids:
                raise InputError(f"{self.options.data}: row {number} has the id {row['id']!r} of an earlier row")
            ids.add(row["id"])
            requests.append(row)
        return requests

    def writing_prompt(self, row: Mapping[str, Any]) -> str:
        return self.request(row["skills"], row["topic"])

    def is_graded(self, row: Mapping[str, Any]) -> bool:
        return row.get("skill_points") is not None

    def grading_questions(self, row: Mapping[str, Any]) -> list[Example]:
        """Whether the text shows each of its skills."""
        return [
            Example(f"{row['id']}/{place}", "", "test", self.question(row, skill), YES_NO, 0)
            for place, skill in enumerate(row["skills"])
        ]

    def grade_by_function(self, function: Callable[..., Any], row: Mapping[str, Any]) -> list[float]:
        """Call `function(text, skills, topic)`, which returns a point for each skill."""
        points = [float(point) for point in function(row["text"], list(row["skills"]), row["topic"])]
        if len(points) != len(row["skills"]) or not set(points) <= {0.0, 1.0}:
            raise ValueError(f"it returned {points}, not 0 or 1 for each of the {len(row['skills'])} skills")
        return points

    def with_grades(self, row: Mapping[str, Any], points: Sequence[float]) -> Row:
        sentences = len(_SENTENCE_END.findall(row["text"])) or 1
        length_point = float(sentences <= most_sentences(row["skills"]))
        return {**row, "skill_points": list(points), "length_point": length_point}

    def companion_files(self) -> dict[str, bytes]:
        """The table of skills."""
        return {SKILLS_FILE: skills_table(self.skills.values()).encode()}

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
                metrics={**self._asked(row["skills"]), **grades(row)},
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

    def _asked(self, skills: Sequence[str]) -> MetricValues:
        return {"asked": {name: name in skills for name in self.asked_for}, "k": len(skills)}


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


def grades(row: Mapping[str, Any]) -> MetricValues:
    """The grades of a text: of each skill that was asked for, their share, and of topic, sense and length."""
    points = row.get("skill_points")
    if points is None:
        return {}
    if len(points) != len(row["skills"]):
        raise ValueError(f"it has {len(points)} skill_points for {len(row['skills'])} skills")
    by_skill: dict[str, MetricValue] = {name: _point(point) for name, point in zip(row["skills"], points, strict=True)}
    others: dict[str, MetricValue] = {name: _point(row[name]) for name in POINTS if row.get(name) is not None}
    return {"grade": by_skill, "skills_shown": sum(map(float, points)) / len(points), **others}


def _described(skill: Skill) -> str:
    definition = f": {skill.definition}" if skill.definition else ""
    example = f" Example: {skill.example}" if skill.example else ""
    return f"- {skill.name}{definition}{example}"


def _point(value: Any) -> bool:
    if float(value) not in (0.0, 1.0):
        raise ValueError(f"a point is {value}, neither 0 nor 1")
    return bool(float(value))
