"""Options that are declared on dataclasses (see `skilljobs.options`) as parameters of a click command."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import click

from skilljobs.cli.job_file import check_keys, read_job_file
from skilljobs.cli.run_names import complete_tasks
from skilljobs.errors import InputError
from skilljobs.options import Option, declared_options
from skilljobs.spec import JobSpec


def click_option(declared: Option) -> click.Option:
    """The click parameter of a declared option."""
    settings: dict[str, Any] = {"help": declared.text.help, "default": declared.default}
    if declared.text.default_text is not None:
        settings["help"] += f"  [default: {declared.text.default_text}]"
    elif declared.default is not None and declared.default is not False and declared.default != ():
        settings["show_default"] = True
    if declared.values == 0:
        return click.Option([declared.flag], is_flag=True, **settings)
    if declared.choices:
        settings["type"] = click.Choice(declared.choices)
    else:
        settings |= {"type": declared.kind, "metavar": declared.text.metavar}
    if declared.name == "task":
        settings["shell_complete"] = complete_tasks
    if declared.repeats:
        settings["multiple"] = True
    elif declared.values > 1:
        settings["nargs"] = declared.values
    return click.Option([declared.flag], **settings)


def declared_command(spec_type: type) -> type[click.Command]:
    """A kind of command that takes what `spec_type` declares, after its first parameter; `k` is also `-k`."""

    class DeclaredCommand(click.Command):
        def get_params(self, ctx: click.Context) -> list[click.Parameter]:
            declared = [click_option(option) for option in declared_options(spec_type)]
            for parameter in declared:
                if parameter.name == "k":
                    parameter.opts = ["-k", *parameter.opts]
            first, *others = super().get_params(ctx)
            return [first, *declared, *others]

    return DeclaredCommand


class SubmitCommand(click.Command):
    """A command that takes the options of a job and of its task, in addition to its own parameters.

    The options of the task that is named on the command line are parsed as that task declares them; those of other
    tasks are parsed too, so that they can be refused by name.
    """

    _task_name: str | None = None

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        path = _value_of("--config", args)
        stored = read_job_file(path) if path is not None and not extra.get("resilient_parsing") else {}
        in_file = stored.get("task")
        self._task_name = _value_of("--task", args) or (in_file if isinstance(in_file, str) else None)
        if path is not None and stored:
            by_name = {parameter.name: parameter for parameter in self.get_params(click.Context(self))}
            check_keys(path, stored, [name for name in by_name if name and name != "config"])
            extra["default_map"] = {
                name: [value] if by_name[name].multiple and isinstance(value, str) else value
                for name, value in stored.items()
            }
        return super().make_context(info_name, args, parent, **extra)

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        own = super().get_params(ctx)
        job = [click_option(declared) for declared in declared_options(JobSpec)]
        by_name = {declared.name: declared for _, options in self.own_options_by_task() for declared in options}
        return [*job, *map(click_option, by_name.values()), *own]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        job = {declared.name for declared in declared_options(JobSpec)}
        with formatter.section("The job"):
            formatter.write_dl(_records(ctx, (click_option(declared) for declared in declared_options(JobSpec))))
        for title, options in self.own_options_by_task():
            if options:
                with formatter.section(f"Options of {title}"):
                    formatter.write_dl(_records(ctx, map(click_option, options)))
        others = {declared.name for _, options in self.own_options_by_task() for declared in options}
        rest = [parameter for parameter in self.get_params(ctx) if parameter.name not in job | others]
        with formatter.section("Where and how it runs"):
            formatter.write_dl(_records(ctx, rest))

    def own_options_by_task(self) -> Sequence[tuple[str, Sequence[Option]]]:
        """A title for each kind of task, and the options that it declares; the named task comes last."""
        # the named one comes last so that its declarations win
        from skilljobs.tasks.registry import find_task, loadable_tasks
        from skilljobs.tasks.table import Table

        tasks = list(loadable_tasks())
        named: list[Any] = []
        if self._task_name is not None:
            with suppress(InputError):  # the job itself will refuse it
                named = [find_task(self._task_name)]
        ordered = [task for task in tasks if task not in named] + named
        return [
            ("a table of your own" if task is Table else f"--task {task.name}", task.own_options()) for task in ordered
        ]


def given_options(params: Mapping[str, Any], ctx: click.Context) -> dict[str, Any]:
    """Of parsed parameters, the options of a job and its task that were given on the command line or in a file."""
    from click.core import ParameterSource

    return {
        name: value
        for name, value in params.items()
        if ctx.get_parameter_source(name) in (ParameterSource.COMMANDLINE, ParameterSource.DEFAULT_MAP)
    }


def declared_options_given(spec_type: type, params: Mapping[str, Any], ctx: click.Context) -> dict[str, Any]:
    """Of `given_options`, those that `spec_type` declares."""
    own = {declared.name for declared in declared_options(spec_type)}
    return {name: value for name, value in given_options(params, ctx).items() if name in own}


def _records(ctx: click.Context, parameters: Iterable[click.Parameter]) -> Iterator[tuple[str, str]]:
    return iter([record for parameter in parameters if (record := parameter.get_help_record(ctx)) is not None])


def _value_of(flag: str, arguments: Sequence[str]) -> str | None:
    for place, word in enumerate(arguments):
        if word.startswith(f"{flag}="):
            return word.partition("=")[2]
        if word == flag and place + 1 < len(arguments):
            return arguments[place + 1]
    return None
