"""Options that are declared on dataclasses (see `skilljobs.options`) as parameters of a click command."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import click

from skilljobs.cli.job_file import JOBS, JobFile, Value, check_keys, read_job_file
from skilljobs.cli.options_once import OptionsOnce
from skilljobs.cli.run_names import complete_tasks
from skilljobs.errors import InputError
from skilljobs.options import Option, declared_options
from skilljobs.spec import JobSpec


def click_option(declared: Option, several: Collection[str] = ()) -> click.Option:
    """The click parameter of a declared option.

    Those that `several` names may be given again, for another job: their value is then a tuple.
    """
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
    if declared.name in several:
        settings["help"] = f"{declared.text.help} Repeat for several {declared.name}s."
        settings |= {"multiple": True, "default": None, "callback": _one_or_all}
    elif declared.repeats:
        settings["multiple"] = True
    elif declared.values > 1:
        settings["nargs"] = declared.values
    return click.Option([declared.flag], **settings)


def declared_command(spec_type: type) -> type[click.Command]:
    """A kind of command that takes what `spec_type` declares, after its first parameter; `k` is also `-k`."""

    class DeclaredCommand(OptionsOnce):
        def get_params(self, ctx: click.Context) -> list[click.Parameter]:
            declared = [click_option(option) for option in declared_options(spec_type)]
            for parameter in declared:
                if parameter.name == "k":
                    parameter.opts = ["-k", *parameter.opts]
            first, *others = super().get_params(ctx)
            return [first, *declared, *others]

    return DeclaredCommand


class SubmitCommand(OptionsOnce):
    """A command that takes the options of a job and of its task, in addition to its own parameters.

    The options of the tasks that are named are parsed as these declare them; those of other tasks are parsed too, so
    that they can be refused by name.
    """

    several: tuple[str, ...] = ("task",)
    """The options that may be given again, for another job."""
    _task_names: Sequence[str] = ()

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        try:
            return self._context(info_name, args, parent, extra)
        finally:
            self._task_names = ()

    def _context(
        self, info_name: str | None, args: list[str], parent: click.Context | None, extra: dict[str, Any]
    ) -> click.Context:
        path = next(iter(_values_of("--config", args)), None)
        is_read = path is not None and not extra.get("resilient_parsing")
        file = read_job_file(path) if path is not None and is_read else JobFile({})
        self._task_names = _values_of("--task", args) or _tasks_of(file.options)
        words = list(args)
        if path is not None and is_read:
            options = [p for p in self.get_params(click.Context(self)) if isinstance(p, click.Option)]
            by_name = {parameter.name: parameter for parameter in options}
            own = {declared.name for declared in (*declared_options(JobSpec), *self._own_options())}
            check_keys(path, file, [name for name in by_name if name and name != "config"], own | {"run_id"})
            extra["default_map"] = self._defaults(file.options)
        context = super().make_context(info_name, args, parent, **extra)
        context.meta[JOBS] = [
            self._options_of_job(f"--config {path}, job {number}", file, job, info_name, words, parent, extra)
            for number, job in enumerate(file.jobs, 1)
        ]
        return context

    def _options_of_job(
        self,
        where: str,
        file: JobFile,
        job: dict[str, Value],
        info_name: str | None,
        words: Sequence[str],
        parent: click.Context | None,
        extra: Mapping[str, Any],
    ) -> dict[str, Any]:
        """The options that one of several jobs in a file has of its own: the command line counts more."""
        self._task_names = _tasks_of(job) or _tasks_of(file.options)
        defaults = self._defaults(file.options | job)
        try:
            context = super().make_context(info_name, list(words), parent, **{**extra, "default_map": defaults})
        except click.BadParameter as error:
            raise InputError(f"{where}: {error.format_message()}") from error
        from_file = click.core.ParameterSource.DEFAULT_MAP
        return {name: context.params[name] for name in job if context.get_parameter_source(name) == from_file}

    def _defaults(self, options: Mapping[str, Value]) -> dict[str, Any]:
        """Options of a file as click's defaults."""
        by_name = {parameter.name: parameter for parameter in self.get_params(click.Context(self))}
        return {
            name: [value] if by_name[name].multiple and isinstance(value, str) else value
            for name, value in options.items()
        }

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        own = super().get_params(ctx)
        by_name = {declared.name: declared for declared in self._own_options()}
        return [*self.job_options(), *map(click_option, by_name.values()), *own]

    def job_options(self) -> list[click.Option]:
        """The options of a job that every task has."""
        return [click_option(declared, self.several) for declared in declared_options(JobSpec)]

    def _own_options(self) -> list[Option]:
        return [declared for _, options in self.own_options_by_task() for declared in options]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        job = {declared.name for declared in declared_options(JobSpec)}
        with formatter.section("The job"):
            formatter.write_dl(_records(ctx, self.job_options()))
        for title, options in self.own_options_by_task():
            if options:
                with formatter.section(f"Options of {title}"):
                    formatter.write_dl(_records(ctx, map(click_option, options)))
        others = {declared.name for _, options in self.own_options_by_task() for declared in options}
        rest = [parameter for parameter in self.get_params(ctx) if parameter.name not in job | others]
        with formatter.section("Where and how it runs"):
            formatter.write_dl(_records(ctx, rest))

    def own_options_by_task(self) -> Sequence[tuple[str, Sequence[Option]]]:
        """A title for each kind of task, and the options that it declares; the named tasks come last."""
        # the named ones come last so that their declarations win
        from skilljobs.tasks.registry import find_task, loadable_tasks
        from skilljobs.tasks.table import Table

        tasks = list(loadable_tasks())
        named: list[Any] = []
        for name in self._task_names:
            with suppress(InputError):  # the job itself will refuse it
                named.append(find_task(name))
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


def _one_or_all(ctx: click.Context, param: click.Parameter, value: Sequence[str] | None) -> Any:
    """The value of an option that may be given for several jobs: None, one value, or a tuple of several."""
    return None if not value else value[0] if len(value) == 1 else tuple(value)


def _tasks_of(options: Mapping[str, Value]) -> list[str]:
    """The tasks that options of a file name."""
    task = options.get("task", [])
    return task if isinstance(task, list) else [task] if isinstance(task, str) else []


def _values_of(flag: str, arguments: Sequence[str]) -> list[str]:
    """The values that `arguments` give to an option."""
    found = []
    for place, word in enumerate(arguments):
        if word.startswith(f"{flag}="):
            found.append(word.partition("=")[2])
        if word == flag and place + 1 < len(arguments):
            found.append(arguments[place + 1])
    return found
