"""Writes docs/commands.md, the reference of all commands and options: `python -m tests.command_reference`."""

import inspect
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import click

from skilljobs.cli.main import COMMANDS, PROGRAM, cli
from skilljobs.cli.option_params import SubmitCommand, click_option
from skilljobs.options import declared_options
from skilljobs.spec import JobSpec

PATH = Path(__file__).parents[1] / "docs" / "commands.md"
HEAD = """# Commands and options

<!-- Written by `python -m tests.command_reference` from the commands themselves; a test compares. -->

Every command has `--help`. Results go to stdout and progress to stderr. A run is named by its directory, or by its id
alone, which is looked up in `--out`. The exit codes are 0 if the command succeeded, 1 if the job failed (what was
committed is kept, and the message says how to resume), 2 for bad usage or input (nothing was started), and 130 or 143
if it was interrupted.

| command | what it does |
|---|---|
"""
NOTES = r"\s*\[((?:default: |x>=?|required).*?)\](?=$|\s)"
BOUNDS = {">=": "At least", ">": "More than"}


def source() -> str:
    """The text of the page."""
    parts = [HEAD]
    parts += [f"| [`{PROGRAM} {name}`](#{PROGRAM}-{name}) | {summary} |\n" for name, (_, summary) in COMMANDS.items()]
    parts.append("\nEvery command also takes `-h`, `--help`, and most take `--debug`, which shows tracebacks.\n")
    for name in COMMANDS:
        parts += _section(name)
    return "".join(parts)


def _section(name: str) -> Iterator[str]:
    context = click.Context(cli, info_name=PROGRAM)
    command = cli.get_command(context, name)
    assert command is not None
    own = click.Context(command, info_name=name, parent=context)
    yield f"\n## {PROGRAM} {name}\n\n"
    pieces = command.collect_usage_pieces(own)
    prose, examples = _description(command)
    yield f"`{' '.join([PROGRAM, name, *pieces])}`\n\n{prose}\n"
    if examples:
        yield "\n<!-- not run: the examples of --help -->\n```bash\n" + "\n".join(examples) + "\n```\n"
    for title, options in _groups(command, own):
        if options:
            yield f"\n### {title}\n" if title else ""
            yield "\n| option | meaning | default |\n|---|---|---|\n"
            yield from options


def _groups(command: click.Command, context: click.Context) -> Iterator[tuple[str, list[str]]]:
    """Titles and rows of options; those of `submit` are grouped as in its help."""
    if not isinstance(command, SubmitCommand):
        yield "", list(_rows(command.get_params(context), context))
        return
    command.get_params(context)
    job = declared_options(JobSpec)
    if command.name != "submit":
        known = {option.name for option in (*job, *(o for _, own in command.own_options_by_task() for o in own))}
        others = [p for p in command.get_params(context) if p.name not in known or p.name in command.several]
        yield "Beside the options of submit, those of a task among them", list(_rows(others, context))
        return
    yield "The job", list(_rows(command.job_options(), context))
    listed = {option.name for option in job}
    for title, options in command.own_options_by_task():
        yield f"Options of {title}", list(_rows(map(click_option, options), context))
        listed |= {option.name for option in options}
    rest = [parameter for parameter in command.get_params(context) if parameter.name not in listed]
    yield "Where and how it runs", list(_rows(rest, context))


def _rows(parameters: Iterable[click.Parameter], context: click.Context) -> Iterator[str]:
    for parameter in parameters:
        if not isinstance(parameter, click.Option) or {"--help", "--debug"} & set(parameter.opts):
            continue
        record = parameter.get_help_record(context)
        if record is None:
            continue
        names, text = record
        meaning, *brackets = re.split(NOTES, text)
        notes = "; ".join(filter(None, brackets)).split("; ")
        default = next((note.removeprefix("default: ") for note in notes if note.startswith("default: ")), "")
        for sign, bound in (match.groups() for note in notes if (match := re.fullmatch(r"x(>=?)(\S+)", note))):
            meaning = f"{meaning.strip()} ({BOUNDS[sign]} {bound}.)"
        names = _escaped(names).replace("INTEGER RANGE", "N")
        yield f"| `{names}` | {_cell(meaning.strip())} | {_cell(default)} |\n"


def _cell(text: str) -> str:
    """Options outside of code become code."""
    outside = re.split(r"(`[^`]*`)", _escaped(text))
    outside[::2] = [re.sub(r"(?<![\w-])(--?[a-z][a-z-]*)", r"`\1`", piece) for piece in outside[::2]]
    return "".join(outside)


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")


def _description(command: click.Command) -> tuple[str, Sequence[str]]:
    """What a command's help says, and the examples at its end."""
    text, _, examples = inspect.cleandoc(command.help or "").partition("\b\n")
    return text.strip(), [line for line in examples.splitlines() if line.strip()]


if __name__ == "__main__":
    PATH.write_text(source(), encoding="utf-8")
