"""`skilljobs show`."""

import click

from skilljobs.cli.options_once import OptionsOnce
from skilljobs.cli.run_names import run_argument


@click.command(cls=OptionsOnce)
@run_argument()
@click.option("--config", is_flag=True, help="Print the job as a TOML file for `submit --config`.")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def show(run: str, config: bool, debug: bool) -> None:
    """Show the command that makes a run, or with --config the file that does.

    \b
    skilljobs show runs/RUN
    skilljobs show runs/RUN --config > job.toml
    skilljobs submit --config job.toml
    """
    from skilljobs.api import open_run
    from skilljobs.cli.job_file import job_file_text
    from skilljobs.cli.saying import say
    from skilljobs.plan.data_options import command_of

    spec = open_run(run).record.job_spec
    if not config:
        say(command_of(spec))
        return
    click.echo(job_file_text(spec.given), nl=False)
