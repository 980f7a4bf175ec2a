"""README and docs/ say what the program does: commands run, tables are those of the code, links lead somewhere."""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import chdir
from dataclasses import replace
from operator import attrgetter
from pathlib import Path

import pytest
import yaml

import skilljobs
from skilljobs.plan.reading import read_examples
from skilljobs.stats.answers import MODEL_METRICS
from skilljobs.store import follow_up_schema, schema
from skilljobs.tasks.arithmetic import Arithmetic
from skilljobs.tasks.external_columns import external_columns
from skilljobs.tasks.hans import Hans
from skilljobs.tasks.skillmix import POINTS, SkillMix
from tests.command_reference import PATH, source
from tests.documentation import NOT_RUN, PAGES, ROOT, RUN, Session, blocks_of, commands_of

README = ROOT / "README.md"
WITH_COMMANDS = [page for page in PAGES if any(block.is_run for block in blocks_of(page))]


@pytest.fixture(scope="module")
def folder(ray_here: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where all pages run, with the run that README makes."""
    here = tmp_path_factory.mktemp("reader")
    (first,) = (block for block in blocks_of(README) if "--run-id first" in block.body and block.is_run)
    command, _ = next(commands_of(first))
    with chdir(here), pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "120")
        Session(lambda: "").run(replace(first, body=f"$ {command}"))
        yield here


@pytest.mark.ray
@pytest.mark.parametrize("page", WITH_COMMANDS, ids=lambda page: page.name)
def test_its_blocks_run(page: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    session = Session(lambda: "".join(capsys.readouterr()))
    for block in filter(attrgetter("is_run"), blocks_of(page)):
        session.run(block)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_block_is_run_or_says_why_not(page: Path) -> None:
    for block in blocks_of(page):
        known = (*RUN, *NOT_RUN) if block.language != "{toctree}" else (block.language,)
        assert block.language in known, f"{block}: what kind of block is {block.language!r}?"
        if not block.is_run:
            assert block.why_not is None or len(block.why_not.split()) >= 2, f"{block}: why is it not run?"
            Session(lambda: "").run(block)


def test_what_is_wrong_in_a_block_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(text: str) -> None:
        with chdir(tmp_path):
            for block in blocks_of(tmp_path / "page.md", text):
                Session(lambda: capsys.readouterr().out).run(block)

    run("```console\n$ skilljobs tasks\nskillmix   Skill-Mix\n```\n")
    with pytest.raises(pytest.fail.Exception, match="No such option"):
        run("<!-- not run: needs a cluster -->\n```bash\nray up x.yaml && skilljobs submit --taks arithmetic\n```\n")
    with pytest.raises(AssertionError, match="does not print\ntasks: 7"):
        run("```console\n$ skilljobs tasks\ntasks: 7\n```\n")
    with pytest.raises(AssertionError, match=r"page.md:1: skilljobs top"):
        run("```bash\nskilljobs top runs/nothing --metric confidence\n```\n")
    with pytest.raises(AssertionError, match="only commands of skilljobs"):
        run("```bash\nrm -r runs\n```\n")
    with pytest.raises(ZeroDivisionError):
        run("```python\n1 / 0\n```\n")


def test_the_commands_page_is_that_of_the_commands() -> None:
    assert PATH.read_text(encoding="utf-8") == source(), "python -m tests.command_reference writes it anew"


def test_every_metric_is_explained() -> None:
    page = (ROOT / "docs/metrics.md").read_text(encoding="utf-8")
    columns = [found.name for task in (Arithmetic(), Hans()) for found in external_columns(read_examples(task, 0)[0])]
    of_choices = [*Hans.choice_probabilities, *SkillMix.choice_probabilities]
    of_texts = [*POINTS, "skills_shown", "k", "grade", "skill", "asked=SKILL", "grade=SKILL"]
    for name in [*MODEL_METRICS, *columns, *of_choices, *of_texts]:
        assert f"`{name}`" in page, name


def test_the_columns_are_those_of_the_files() -> None:
    page = (ROOT / "docs/files.md").read_text(encoding="utf-8")
    assert f"`{', '.join(schema.CORRELATIONS.names)}`" in page
    sections = {
        "correlations": schema.CORRELATIONS_PREDICTIVITY,
        "activations and vocabulary": schema.ACTIVATIONS,
        "ablation": follow_up_schema.ABLATION,
        "effects": follow_up_schema.EFFECTS,
        "shortcuts": follow_up_schema.SHORTCUTS,
    }
    for title, expected in sections.items():
        rows = re.findall(r"^\| (`.*?) \|", page.partition(f"### {title}\n")[2].partition("\n### ")[0], re.MULTILINE)
        columns = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
        assert sorted(columns) == sorted(expected.names), title
    lists = {
        "shards/moments-*.parquet": schema.MOMENTS,
        "examples/part-*.parquet": schema.EXAMPLE_FIXED,
        "metrics.parquet": schema.METRICS,
        "prompt/tuning.parquet": schema.TUNING,
    }
    for name, expected in lists.items():
        assert f"| `{name}` | `{', '.join(expected.names)}`" in page


def test_the_citation_is_of_this_version() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    page = (ROOT / "docs/citation.md").read_text(encoding="utf-8")
    assert cited["version"] == skilljobs.__version__
    assert f"version = {{{skilljobs.__version__}}}" in page
    for reference in cited["references"]:
        assert reference["title"] in page
        assert all(f"{author['family-names']}, {author['given-names']}" in page for author in reference["authors"])


def test_the_readme_is_short_and_installs_with_the_constraints() -> None:
    text = README.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 220
    installs = [line for line in text.splitlines() if line.startswith(("pip install", "uv pip install"))]
    assert installs
    assert all(" -c constraints.txt " in line for line in installs)
    ((alternative, picture),) = re.findall(r"!\[(.*?)\]\((.*?)\)", text)
    assert len(alternative.split()) > 5
    assert (ROOT / picture).stat().st_size < 200_000


def test_every_page_is_in_the_navigation_and_no_link_is_broken(tmp_path: Path) -> None:
    """Links to other sites are not followed: that needs a network."""
    command = ["-m", "sphinx", "--fail-on-warning", "--keep-going", "-q", "-c", "docs", ".", str(tmp_path)]
    done = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    site = (tmp_path / "docs" / "statistics.html").read_text(encoding="utf-8")
    assert "<math" in site
    for name in tmp_path.rglob("*.html"):
        assert 'src="http' not in name.read_text(encoding="utf-8"), f"{name.name} fetches something from the network"
