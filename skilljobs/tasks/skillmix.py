"""Skill-Mix: a text that shows several skills at once (Yu et al. 2023, arXiv 2310.17567).

This is the first study of arXiv 2511.21610. Neurons can know only what comes before the soft prompt, so there are two
views: in `asked` they can know the skills that are asked for, and in `shown` they can also know the text.
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
    has_skills_table,
    read_skills,
    read_topics,
    skills_table,
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
    """The options of Skill-Mix: which view the neurons are read in."""

    view: Literal["asked", "shown"] | None = option(
        None, "Read the neurons after the request, or after the text as well.", default_text="asked"
    )


class SkillMix(TextTask):
    """Skill-Mix: texts that must show several skills on a topic; `--view asked` or `shown`."""

    name = "skillmix"
    options_type = SkillMixOptions
    options: SkillMixOptions
    choice_probabilities = {"p_yes": 0}  # noqa: RUF012  it is never modified
    accepts = frozenset[str]()

    def __init__(self, options: TaskOptions | None = None) -> None:
        super().__init__(options)
        self._text_is_shown = self.options.view == "shown"
        self.group = "skill" if self._text_is_shown else None

    @cached_property
    def skills(self) -> dict[str, Skill]:
        """The known skills by name, from the data's table or from the project's own skills."""
        return read_skills(self.options.data)

    @cached_property
    def asked_for(self) -> list[str]:
        """The skills that a text can be asked to show: those of the table and those of all rows."""
        table = self.skills if self.options.data is None or has_skills_table(self.options.data) else ()
        rows = (row["skills"] for row in self._texts() if isinstance(row.get("skills"), list))
        return list(dict.fromkeys([*table, *(str(name) for skills in rows for name in skills)]))

    def rows(self) -> Iterator[Mapping[str, Any]]:
        for text in self._texts():
            if text.get("text") is None:
                raise InputError(
                    "the task skillmix has requests but no texts: let the model write them (--generate), or read"
                    " existing texts (--data FILE)"
                )
            if not self._text_is_shown:
                yield text
                continue
            if text.get("skill_points") is None:
                raise InputError("--view shown needs grades: --grader, or `skill_points` in every row of --data")
            skills = text.get("skills")
            if not isinstance(skills, list) or not skills:
                yield text  # a bad row, which `example` names
                continue
            for index, skill in enumerate(skills):
                yield {**text, "place": index, "skill": skill}

    def _texts(self) -> Iterable[Mapping[str, Any]]:
        """Return the requests, with the texts and grades that they already have."""
        data = self.options.data
        if self.texts is not None:
            return self.texts
        if data is None or data.name == SKILLS_FILE:
            return draw_requests(list(self.skills), read_topics(data), self.options.seed)
        return read_table(data)

    def requests(self) -> list[Row]:
        requests: list[Row] = []
        ids: set[object] = set()
        for number, stored in enumerate(self._texts(), start=1):
            row = {**stored, "id": stored.get("id") or f"{number:05d}"}
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
        """Return a question for each skill of the row: whether the text shows it."""
        return [
            Example(f"{row['id']}/{index}", "", "test", self.question(row, skill), YES_NO, 0)
            for index, skill in enumerate(row["skills"])
        ]

    def grade_by_function(self, function: Callable[..., Any], row: Mapping[str, Any]) -> list[float]:
        """Return the points from calling `function(text, skills, topic)`, 0 or 1 for each skill.

        Raises:
            ValueError: the function did not return 0 or 1 for each skill.
        """
        points = [float(point) for point in function(row["text"], list(row["skills"]), row["topic"])]
        if len(points) != len(row["skills"]) or not set(points) <= {0.0, 1.0}:
            raise ValueError(f"it returned {points}, not 0 or 1 for each of the {len(row['skills'])} skills")
        return points

    def with_grades(self, row: Mapping[str, Any], points: Sequence[float]) -> Row:
        sentences = len(_SENTENCE_END.findall(row["text"])) or 1
        length_point = float(sentences <= most_sentences(row["skills"]))
        return {**row, "skill_points": list(points), "length_point": length_point}

    def companion_files(self) -> dict[str, bytes]:
        """Return the table of skills, under its file name."""
        return {SKILLS_FILE: skills_table(self.skills.values()).encode()}

    def example(self, row: Mapping[str, Any], number: int) -> Example:
        check_request(row)
        if not isinstance(row["text"], str):
            raise ValueError(f"its text is {row['text']!r}")
        if not row["text"].strip():
            raise ValueError("its text is empty")
        unit = f"{row['topic']}: {' + '.join(sorted(row['skills']))}"
        example_id = str(row.get("id", number))
        split = str(row.get("split") or split_of(unit))
        if not self._text_is_shown:
            return Example(
                example_id=example_id,
                unit=unit,
                split=split,
                text=self.request(row["skills"], row["topic"]),
                target=f" {row['text'].strip()}",
                metrics={**self._asked(row["skills"]), **grades(row)},
            )
        index, skill = row["place"], row["skill"]
        point = _point(row["skill_points"][index])
        return Example(
            example_id=f"{example_id}/{index}",
            unit=unit,
            split=split,
            text=self.question(row, skill),
            choices=YES_NO,
            answer=0 if point else 1,
            metrics={"grade": point, "skill": skill, "k": len(row["skills"])},
        )

    def request(self, skills: Sequence[str], topic: str) -> str:
        """Return the request for a text: the topic, and each skill with its definition and example where known."""
        limit = most_sentences(skills)
        return REQUEST.format(
            topic=topic,
            sentences=f"{limit} sentence{'s' if limit > 1 else ''}",
            count=len(skills),
            names=", ".join(skills),
            skills="\n".join(_described(self.skills.get(name, Skill(name))) for name in skills),
        )

    def question(self, row: Mapping[str, Any], skill: str) -> str:
        """Return the request followed by its text and the question whether the text shows `skill`."""
        request = self.request(row["skills"], row["topic"])
        return QUESTION.format(request=request, text=row["text"].strip(), skill=skill)

    def _asked(self, skills: Sequence[str]) -> MetricValues:
        return {"asked": {name: name in skills for name in self.asked_for}, "k": len(skills)}


def most_sentences(skills: Sequence[str]) -> int:
    """Return the largest number of sentences that a text may have: one less than its skills, but at least one."""
    return max(1, len(skills) - 1)


def check_request(row: Mapping[str, Any]) -> None:
    """Check that a row asks for something.

    Raises:
        KeyError: the row has no `skills` or no `topic`.
        ValueError: `skills` is not a non-empty list of names, or `topic` is not a text.
    """
    skills = row["skills"]
    if not isinstance(skills, list) or not skills or not all(isinstance(name, str) and name for name in skills):
        raise ValueError(f"`skills` is {skills!r}, not a list of names")
    if not isinstance(row["topic"], str):
        raise ValueError(f"`topic` is {row['topic']!r}, not a text")


def grades(row: Mapping[str, Any]) -> MetricValues:
    """Return the grades of a text as metrics, or nothing if it has no grades.

    They are a grade for each skill that was asked for, the fraction of these skills that the text shows, and grades
    for topic, sense and length if the row has them.

    Raises:
        ValueError: the number of skill points is wrong, or a point is neither 0 nor 1.
    """
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
        raise ValueError(f"a point is {value}, but it must be 0 or 1")
    return bool(float(value))
