"""Language skills, topics for texts that show them, and the requests that combine skills with a topic."""

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
from skilljobs.tasks.row_files import read_table
from skilljobs.tasks.text_files import read_text

REQUESTS = 400
SKILLS_PER_REQUEST = (2, 3, 4)
SKILLS_FILE, TOPICS_FILE = "skills.csv", "topics.txt"


@dataclass(frozen=True, slots=True)
class Skill:
    """A language skill: its name, its definition, and a text that shows it; the definition and text may be empty."""

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


def has_skills_table(path: Path) -> bool:
    """Return whether `path` is a table of skills or has one (`skills.csv`) in its folder."""
    return _skills_table_path(path).is_file()


def _skills_table_path(path: Path) -> Path:
    return path if path.name == SKILLS_FILE else path.with_name(SKILLS_FILE)


def read_skills(path: Path | None) -> dict[str, Skill]:
    """Return the skills of a table by name.

    The table is `path` itself if that is `skills.csv`, and otherwise `skills.csv` in the folder of `path`. If there is
    no table, the project's own skills are returned.

    Raises:
        InputError: the table cannot be read, or a row has no `skill`.
    """
    if path is None or not has_skills_table(path):
        return {skill.name: skill for skill in OWN_SKILLS}
    file = _skills_table_path(path)
    skills = {}
    for number, row in enumerate(read_table(file), start=1):
        if not row.get("skill"):
            raise InputError(f"{file}: row {number} has no `skill`")
        skill = Skill(*(str(row.get(column) or "").strip() for column in ("skill", "definition", "example")))
        skills[skill.name] = skill
    return skills


def skills_table(skills: Iterable[Skill]) -> str:
    """Return the text of a table `skills.csv` with these skills."""
    text = io.StringIO()
    csv.writer(text).writerows([("skill", "definition", "example"), *map(astuple, skills)])
    return text.getvalue()


def read_topics(path: Path | None) -> list[str]:
    """Return the topics in `topics.txt` in the folder of `path`, one per line, or else the project's own topics."""
    file = None if path is None else path.with_name(TOPICS_FILE)
    if file is None or not file.is_file():
        return list(OWN_TOPICS)
    return [line.strip() for line in read_text(file).splitlines() if line.strip()]


def draw_requests(skills: Sequence[str], topics: Sequence[str], seed: int) -> Iterator[Mapping[str, Any]]:
    """Yield `REQUESTS` different requests, or all possible ones if there are fewer, of each size in turn.

    Raises:
        InputError: there are too few skills, or there is no topic.
    """
    rng = random.Random(stable_hash("requests", seed))
    seen: set[tuple[tuple[str, ...], str]] = set()
    sizes = [size for size in SKILLS_PER_REQUEST if size <= len(skills)]
    if not sizes or not topics:
        raise InputError(f"requests need at least {SKILLS_PER_REQUEST[0]} skills and a topic")
    possible = sum(1 for size in sizes for _ in itertools.combinations(skills, size)) * len(topics)
    for size in itertools.cycle(sizes):
        if len(seen) == min(REQUESTS, possible):
            return
        request = tuple(sorted(rng.sample(list(skills), size))), rng.choice(list(topics))
        if request not in seen:
            seen.add(request)
            yield {"skills": list(request[0]), "topic": request[1]}
