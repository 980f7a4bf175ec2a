"""The fenced blocks of README.md and docs/, and running them.

A block of commands or Python is run in a folder that all pages share, in the order of its page. A comment above it,
which readers of the page do not see, may say otherwise:

    <!-- not run: REASON -->                     its commands are parsed with their options, and no more
    <!-- in the test: submit --limit 200 -->     these options are added to that command, to make it small
    <!-- file: NAME -->                          it is the content of that file, and is run too if it is Python
"""

import json
import re
import shlex
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import pytest

from skilljobs.cli.main import cli, main
from skilljobs.errors import InputError

ROOT = Path(__file__).parents[1]
IN_ORDER = re.findall(r"^[\w-]+$", (ROOT / "docs/index.md").read_text(encoding="utf-8"), re.MULTILINE)
"""The pages of docs/ as the navigation has them: what an earlier one has run is there for a later one."""
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
PAGES += sorted((ROOT / "docs").glob("*.md"), key=lambda page: [*IN_ORDER, page.stem].index(page.stem))
RUN = ("bash", "console", "python")
NOT_RUN = ("text", "json", "toml", "bibtex")
BLOCK = re.compile(
    r"^(?P<indent> *)(?P<fence>```+|~~~+)(?P<language>[^\n`]*)\n(?P<body>.*?)^(?P=indent)(?P=fence) *$", re.M | re.S
)
MARKER = re.compile(r"<!-- (?P<kind>not run|in the test|file): (?P<text>[^\n]+?) -->\s*\Z")
TELLING = 16
"""Letters of a part of a line that does not stand anywhere by chance."""
Say = Callable[[], str]
DIFFERENT = 0.5
"""The part of the lines of an output that a smaller run may have otherwise: conclusions are those of a run."""


@dataclass(frozen=True)
class Block:
    """A fenced block: its page and line, what it is, and what its marker says."""

    page: str
    line: int
    language: str
    body: str
    why_not: str | None = None
    smaller: dict[str, list[str]] = field(default_factory=dict)
    file: str | None = None

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def is_run(self) -> bool:
        """Whether something comes of it: it is run, or is a file."""
        return (self.language in RUN or self.file is not None) and self.why_not is None


def blocks_of(path: Path, text: str | None = None) -> list[Block]:
    """The fenced blocks of a page, in order."""
    text = path.read_text(encoding="utf-8") if text is None else text
    found = []
    for match in BLOCK.finditer(text):
        marker = MARKER.search(text[: match.start()])
        given = marker["text"] if marker else ""
        indent = match["indent"]
        found.append(
            Block(
                page=path.name,
                line=text[: match.start()].count("\n") + 1,
                language=match["language"].strip(),
                body="".join(line.removeprefix(indent) for line in match["body"].splitlines(keepends=True)),
                why_not=given if marker and marker["kind"] == "not run" else None,
                smaller=_options(given) if marker and marker["kind"] == "in the test" else {},
                file=given if marker and marker["kind"] == "file" else None,
            )
        )
    return found


def _options(text: str) -> dict[str, list[str]]:
    commands = [shlex.split(part) for part in text.split(";")]
    return {words[0]: words[1:] for words in commands}


def commands_of(block: Block) -> Iterator[tuple[str, list[str]]]:
    """Each command of a block, continued lines joined, with the lines of output that are shown below it."""
    command: str | None = None
    shown: list[str] = []
    lines = iter(block.body.splitlines())
    for line in lines:
        is_command = line.startswith("$ ") if block.language == "console" else bool(line.strip())
        if not is_command:
            shown.append(line)
            continue
        if command is not None:
            yield command, shown
        command, shown = line.removeprefix("$ ") if block.language == "console" else line, []
        while command.endswith("\\"):
            command = command[:-1] + next(lines).strip()
        if command.lstrip().startswith("#"):
            command = None
    if command is not None:
        yield command, shown


def words_of(command: str) -> list[str]:
    """The words of a command line, without comments and without the output that is thrown away."""
    return shlex.split(command, comments=True)


def check_words(block: Block, words: list[str]) -> None:
    """Fail unless `words` is a command of skilljobs with options that it has."""
    try:
        name, command, rest = cli.resolve_command(click.Context(cli), words[1:])
        assert command is not None
        with command.make_context(name, rest, resilient_parsing="--help" in words):
            pass
    except click.ClickException as error:
        pytest.fail(f"{block}: {shlex.join(words)}: {error.format_message()}")
    except InputError as error:  # a file of options is read at once, and the reader's is not here
        assert "--config" in words, f"{block}: {error}"  # noqa: PT017


def skilljobs_commands(text: str) -> Iterator[list[str]]:
    """The commands of skilljobs in a line: alone, or after another one."""
    for part in re.split(r" && | \| ", re.sub(r" >>? ?\S+$", "", text)):
        words = words_of(part)
        if words[:1] == ["skilljobs"]:
            yield words


class Session:
    """Runs blocks in one folder: commands in this process, so that Ray and the model are there already."""

    def __init__(self, printed: Say) -> None:
        self._printed = printed
        self._names: dict[str, Any] = {}

    def run(self, block: Block) -> None:
        """Run a block, or check as much of it as can be checked."""
        if block.file is not None:
            Path(block.file).write_text(block.body, encoding="utf-8")
        if block.language == "json":
            for line in block.body.splitlines():
                json.loads(line)
        elif block.language == "toml":
            tomllib.loads(block.body)
        elif block.language in ("bash", "console"):
            for command, shown in commands_of(block):
                self._command(block, command, shown)
        elif block.language == "python" and block.is_run:
            exec(compile(block.body, str(block), "exec"), self._names)

    def _command(self, block: Block, command: str, shown: list[str]) -> None:
        for words in skilljobs_commands(command):
            check_words(block, words)
        if not block.is_run:
            return
        words = words_of(command)
        assert words[0] == "skilljobs", f"{block}: only commands of skilljobs are run here: {command}"
        self._printed()
        with pytest.raises(SystemExit) as ended:
            main([*words[1:], *block.smaller.get(words[1], [])])
        printed = self._printed()
        assert ended.value.code == 0, f"{block}: {command}\n{printed}"
        missing = [line for line in sentences(shown) if not is_in(line, printed)]
        told = f"{block}: {command} does not print\n" + "\n".join(missing) + f"\nbut\n{printed}"
        assert len(missing) <= DIFFERENT * len(list(sentences(shown))), told


def sentences(shown: list[str]) -> Iterator[str]:
    """The lines of an output that every run has alike, but for their numbers: not the rows of tables."""
    in_rows = False
    for line in shown:
        is_rule = set(line.strip()) == {"─"}
        in_rows = is_rule or (in_rows and bool(line.strip()) and line != "...")
        if not in_rows and line.strip() not in ("", "..."):
            yield line


def is_in(line: str, printed: str) -> bool:
    """Whether a line was printed, wherever lines were broken: a part between numbers and marks, and no short one."""
    parts = [part.strip() for part in re.split(r"[-+]?\d[\d.,e%-]*|[:;,()]", " ".join(line.split()))]
    telling = [part for part in parts if len(part) >= min(TELLING, max(map(len, parts)))]
    return any(part in " ".join(printed.split()) for part in telling)
