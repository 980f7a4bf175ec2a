"""`skilljobs completion`."""

import click
from click.shell_completion import get_completion_class

from skilljobs.cli.options_once import OptionsOnce

VARIABLE = "_SKILLJOBS_COMPLETE"


@click.command(cls=OptionsOnce)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print a script that completes commands, options, runs, tasks and metrics in a shell.

    \b
    skilljobs completion bash >> ~/.bashrc
    skilljobs completion zsh >> ~/.zshrc
    skilljobs completion fish > ~/.config/fish/completions/skilljobs.fish
    """
    from skilljobs.cli.main import PROGRAM, cli

    kind = get_completion_class(shell)
    assert kind is not None, "click has all three"
    click.echo(kind(cli, {}, PROGRAM, VARIABLE).source())
