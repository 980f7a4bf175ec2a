"""Naming a run on the command line: its directory, or its id in the folder that `--out` names; and completing names."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

OUT = "runs"
Command = TypeVar("Command", bound=Callable[..., Any])


class RunName(click.ParamType[str]):
    """A run's directory or URI. A bare id that is no directory here is looked up in the folder of `--out`."""

    name = "run"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return where the run is; `value` itself if it is not known, or is a name on a cluster."""
        from skilljobs.store.run_list import locate_run

        if ctx is not None and isinstance(ctx.params.get("address"), str):
            return value
        return locate_run(value, _out(ctx))

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The ids of the runs in the folder; directories too."""
        from skilljobs.store.run_list import run_ids

        items: list[CompletionItem] = []
        with suppress(Exception):  # a shell must not see what is wrong with a folder
            items = _matching(run_ids(_out(ctx)), incomplete)
        return items or [CompletionItem(incomplete, type="dir")]


out_option = click.option(
    "--out",
    default=OUT,
    show_default=True,
    metavar="URI",
    is_eager=True,
    expose_value=False,
    callback=lambda ctx, param, value: ctx.meta.__setitem__("out", value),
    help="Folder in which a run that is named by its id alone is looked for.",
)


def run_argument(name: str = "run", **settings: Any) -> Callable[[Command], Command]:
    """The argument that names a run, or several, with the option `--out`."""

    def decorate(command: Command) -> Command:
        return click.argument(name, type=RunName(), **settings)(out_option(command))

    return decorate


def complete_metrics(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The metrics of the run that the command names."""
    with suppress(Exception):
        return _matching([m.name for m in _layout(ctx).metrics if m.kind != "null"], incomplete)
    return []


def complete_populations(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The populations of the run that the command names."""
    with suppress(Exception):
        return _matching(_layout(ctx).reported_populations, incomplete)
    return []


def complete_tasks(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The tasks that `--task` accepts."""
    from skilljobs.tasks.registry import task_names

    return _matching(task_names(), incomplete)


def _layout(ctx: click.Context) -> Any:
    """The layout of the run that was named; click leaves that among `args` while the command is incomplete."""
    from skilljobs.api import open_run
    from skilljobs.store.run_list import locate_run

    named = ctx.params.get("run") or next(iter(ctx.params.get("runs") or ctx.args))
    return open_run(locate_run(named, _out(ctx))).layout()


def _out(ctx: click.Context | None) -> str:
    return str(ctx.meta.get("out", OUT)) if ctx is not None else OUT


def _matching(names: Iterable[str], incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]
