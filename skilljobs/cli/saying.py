"""Printing lines that hold names from data, which may have characters that steer a terminal."""

import click

from skilljobs.printable import printable


def say(line: str, err: bool = False) -> None:
    """Print one line on standard output, or on standard error."""
    click.echo(printable(line), err=err)
