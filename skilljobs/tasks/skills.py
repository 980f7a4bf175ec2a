"""Skills of language and topics to show them on, and the requests that combine them."""

import csv
import io
import itertools
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from skilljobs.errors import InputError
from skilljobs.hashing import stable_hash
from skilljobs.tasks.row_files import read_table, read_text

REQUESTS = 400
SKILLS_A_REQUEST = (2, 3, 4)
SKILLS_FILE, TOPICS_FILE = "skills.csv", "topics.txt"


@dataclass(frozen=True, slots=True)
class Skill:
    """A skill of language: its name, what it is, and a text that shows it; the latter two may be empty."""

    name: str
    definition: str = ""
    example: str = ""


OWN_SKILLS = (
    Skill("metaphor", "Speaking of one thing as if it were another.", "The city was an anthill at noon."),
    Skill("simile", "Likening two things with 'like' or 'as'.", "He ran like a startled hare."),
    Skill("hyperbole", "Exaggerating beyond belief for effect.", "I have told you a million times."),
    Skill("understatement", "Making something out to be less than it is.", "The flood left the cellar a little damp."),
    Skill("irony", "Saying the opposite of what is meant.", "Lovely weather, she said, wringing out her coat."),
    Skill("personification", "Giving a thing human traits.", "The old door groaned and refused to let us in."),
    Skill("rhetorical question", "A question that wants no answer.", "Who would not want a dry roof?"),
    Skill("false dilemma", "Offering two options as if there were no others.", "Either you help me or you hate me."),
    Skill("red herring", "Bringing up something beside the point.", "You ask about the bill, but look at that moon!"),
    Skill("slippery slope", "Claiming that a small step leads to disaster.", "One late night, and he is lost."),
    Skill("modus ponens", "If P then Q; P; therefore Q.", "If it rains the match is off. It rains. So it is off."),
    Skill("modus tollens", "If P then Q; not Q; therefore not P.", "Were he in, the lamp would burn. It is dark."),
    Skill("analogy", "Arguing from one case to a like one.", "A hive needs its queen as a ship needs its captain."),
    Skill("spatial reasoning", "Concluding from where things are.", "The box fits in the bag, so its ring does too."),
)  # fmt: skip
OWN_TOPICS = (
    "bread", "lighthouses", "chess", "night trains", "beekeeping", "glassblowing", "mountain rescue", "street markets",
    "sailing", "old clocks", "orchards", "handwriting",
)  # fmt: skip


def has_skills_beside(path: Path) -> bool:
    return _table_beside(path).is_file()


def _table_beside(path: Path) -> Path:
    return path if path.name == SKILLS_FILE else path.with_name(SKILLS_FILE)


def skills_beside(path: Path | None) -> dict[str, Skill]:
    """The skills in the table `skills.csv` beside a file, or in it, by name; without one, the project's own."""
    if path is None or not has_skills_beside(path):
        return {skill.name: skill for skill in OWN_SKILLS}
    file = _table_beside(path)
    skills = {}
    for number, row in enumerate(read_table(file), start=1):
        if not row.get("skill"):
            raise InputError(f"{file}: row {number} has no `skill`")
        skill = Skill(*(str(row.get(column) or "").strip() for column in ("skill", "definition", "example")))
        skills[skill.name] = skill
    return skills


def skills_table(skills: Iterable[Skill]) -> str:
    """The table `skills.csv` of some skills."""
    text = io.StringIO()
    csv.writer(text).writerows([("skill", "definition", "example"), *map(astuple, skills)])
    return text.getvalue()


def topics_beside(path: Path | None) -> list[str]:
    """The topics in `topics.txt` beside a file, one a line; without one, the project's own."""
    file = None if path is None else path.with_name(TOPICS_FILE)
    if file is None or not file.is_file():
        return list(OWN_TOPICS)
    return [line.strip() for line in read_text(file).splitlines() if line.strip()]


def draw_requests(skills: Sequence[str], topics: Sequence[str], seed: int) -> Iterator[Mapping[str, Any]]:
    """`REQUESTS` requests without repetition (or all that there are), of each size in turn."""
    rng = random.Random(stable_hash("requests", seed))
    seen: set[tuple[tuple[str, ...], str]] = set()
    sizes = [size for size in SKILLS_A_REQUEST if size <= len(skills)]
    if not sizes or not topics:
        raise InputError(f"requests need {SKILLS_A_REQUEST[0]} skills and a topic at least")
    every = sum(1 for size in sizes for _ in itertools.combinations(skills, size)) * len(topics)
    for size in itertools.cycle(sizes):
        if len(seen) == min(REQUESTS, every):
            return
        drawn = tuple(sorted(rng.sample(list(skills), size))), rng.choice(list(topics))
        if drawn not in seen:
            seen.add(drawn)
            yield {"skills": list(drawn[0]), "topic": drawn[1]}
