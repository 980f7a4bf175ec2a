"""The `skilljobs` command: its subcommands and their exit codes."""

import sys
from collections.abc import Callable
from importlib import import_module
from signal import SIGTERM
from typing import Any

import click

from skilljobs.errors import InputError, JobFailed, Terminated
from skilljobs.printable import printable, printable_lines
from skilljobs.progress.interrupts import interrupted_by, signals_raised
from skilljobs.suggestions import did_you_mean

PROGRAM = "skilljobs"
INTERRUPTED = "interrupted: committed shards are kept; run the same command again to resume"
COMMANDS = {
    "submit": ("skilljobs.cli.submit", "Run a job, or resume it."),
    "sweep": ("skilljobs.cli.sweep", "Run a job on several models, such as training checkpoints."),
    "tasks": ("skilljobs.cli.runs", "List the tasks."),
    "runs": ("skilljobs.cli.runs", "List the runs in a folder."),
    "status": ("skilljobs.cli.runs", "Show a run's progress and where its time went."),
    "logs": ("skilljobs.cli.jobs", "Show the log of a run's job."),
    "stop": ("skilljobs.cli.jobs", "Stop a run's job."),
    "watch": ("skilljobs.cli.watch", "Show the strongest neurons so far while a run is being collected."),
    "top": ("skilljobs.cli.top", "Show the neurons that correlate most strongly with a metric."),
    "neuron": ("skilljobs.cli.neuron", "Show everything that a run knows about one neuron."),
    "plot": ("skilljobs.cli.report", "Draw the figures of a run."),
    "report": ("skilljobs.cli.report", "Write a run's report as one HTML page."),
    "doctor": ("skilljobs.cli.doctor", "Check this machine or a cluster, and whether a model fits."),
    "verify": ("skilljobs.cli.verify", "Check that no file of a run is damaged."),
    "clean": ("skilljobs.cli.clean", "Drop what the results of a run can be read without."),
    "ablate": ("skilljobs.cli.ablate", "Silence neurons of a finished run, and see what that does."),
    "shortcuts": ("skilljobs.cli.shortcuts", "Find what neurons follow, and whether it is a shortcut."),
    "effects": ("skilljobs.cli.effects", "Estimate what each neuron of a finished run does."),
    "export": ("skilljobs.cli.export", "Write where the top neurons are, as a program or a table."),
    "push": ("skilljobs.cli.push", "Publish a run on the Hugging Face hub or in a folder."),
    "show": ("skilljobs.cli.show", "Show the command or the file that makes a run."),
    "completion": ("skilljobs.cli.completion", "Print a script that completes names in a shell."),
    "compare": ("skilljobs.cli.compare", "Compare runs, the metrics of a run, or its soft prompts."),
}


class LazyGroup(click.Group):
    """Imports a command's module only when that command is used, which keeps `--help` fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            ctx.fail(f"there is no command {cmd_name!r}{did_you_mean(cmd_name, COMMANDS)}")
        module = import_module(COMMANDS[cmd_name][0])
        command: click.Command = getattr(module, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, help_text) for name, (_, help_text) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(None, "-V", "--version", package_name="skilljobs")
def cli() -> None:
    """Find the skill neurons of a frozen language model.

    \b
    skilljobs submit --task arithmetic
    skilljobs top runs/RUN --metric confidence
    """


def main(arguments: list[str] | None = None) -> None:
    """Run a command and exit with its code.

    The code is 0 on success, 1 if the job failed, 2 for bad usage or input, 130 after SIGINT and 143 after SIGTERM.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in arguments
    with signals_raised():
        code = _exit_code(lambda: cli.main(arguments, prog_name=PROGRAM, standalone_mode=False), debug)
    sys.exit(code)


def _exit_code(run: Callable[[], Any], debug: bool) -> int:
    try:
        run()
    except click.ClickException as error:
        error.show()
        return 2
    except click.exceptions.Exit as error:
        return error.exit_code
    except (KeyboardInterrupt, click.Abort) as error:
        interrupt = error.__cause__ or error  # click wraps KeyboardInterrupt in Abort
        _say(str(interrupt) or INTERRUPTED)
        return 143 if isinstance(interrupt, Terminated) or interrupted_by() == SIGTERM else 130
    except InputError as error:
        return _failed(error, 2, debug, printable(str(error)))
    except JobFailed as error:
        return _failed(error, 1, debug)
    except BrokenPipeError:
        return 1
    except BaseException as error:
        if (signal := interrupted_by()) is not None:
            _say(f"{INTERRUPTED} ({type(error).__name__})")
            return 128 + signal
        if is_table_damage(error):
            return _failed(
                error, 1, debug, "a table of the run cannot be read: `skilljobs verify RUN` names what is damaged"
            )
        if not isinstance(error, Exception):
            raise
        return _failed(error, 1, debug, f"{type(error).__name__}: {error} (--debug shows the traceback)")
    return 0


def is_table_damage(error: BaseException) -> bool:
    """Whether Polars could not read a table: it raises its own errors, and panics, which are no `Exception`."""
    kind = type(error)
    return kind.__module__.startswith("polars.") or kind.__name__ == "PanicException"


def _failed(error: BaseException, code: int, debug: bool, text: str | None = None) -> int:
    if debug:
        import traceback

        traceback.print_exception(error)
    _say(text or str(error))
    return code


def _say(text: str) -> None:
    click.echo(f"skilljobs: {printable_lines(text)}", err=True)
