"""What the README says is what the program does."""

import re
from pathlib import Path

from skilljobs.cli.main import COMMANDS
from skilljobs.stats.answers import MODEL_METRICS
from skilljobs.store.schema import CORRELATIONS
from skilljobs.tasks.arithmetic import Arithmetic
from skilljobs.tasks.external_metrics import external_columns
from skilljobs.tasks.hans import Hans
from skilljobs.tasks.reading import read_examples
from skilljobs.tasks.skillmix import POINTS, SkillMix

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def test_every_command_is_listed() -> None:
    for name, (_, summary) in COMMANDS.items():
        assert f"| `skilljobs {name}` | {summary} |" in README


def test_every_metric_is_explained() -> None:
    columns = [source.name for task in (Arithmetic(), Hans()) for source in external_columns(read_examples(task, 0)[0])]
    of_choices = [*Hans.choice_probabilities, *SkillMix.choice_probabilities]
    of_texts = [*POINTS, "skills_shown", "k", "grade", "skill", "asked=SKILL", "grade=SKILL"]
    for name in [*MODEL_METRICS, *columns, *of_choices, *of_texts]:
        assert f"`{name}`" in README, name


def test_the_columns_are_those_of_the_files() -> None:
    assert f"`{', '.join(CORRELATIONS.names)}`" in README


def test_two_commands_install_with_the_constraints() -> None:
    commands = re.findall(r"^pip install .*$", README, re.MULTILINE)
    assert commands == [
        "pip install -c constraints.txt -e . && skilljobs submit --task arithmetic",
        "pip install -c constraints.txt -e '.[test]' && pytest",
    ]


def test_no_placeholder_is_left() -> None:
    assert "@@" not in README
