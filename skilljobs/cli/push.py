"""`skilljobs push`."""

import click

from skilljobs.cli.options_once import OptionsOnce
from skilljobs.cli.run_names import run_argument
from skilljobs.cli.saying import say


@click.command(cls=OptionsOnce)
@run_argument()
@click.argument("place", metavar="URI")
@click.option("--shards", is_flag=True, help="Publish the sums of shards too, which --given and --like need.")
@click.option("--texts/--no-texts", default=True, help="Whether to publish the texts of the data.  [default: texts]")
@click.option("--public", is_flag=True, help="Let everybody see a new data set on the hub.")
@click.option("--dry-run", is_flag=True, help="Say what would be published, and do nothing.")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def push(run: str, place: str, shards: bool, texts: bool, public: bool, dry_run: bool, debug: bool) -> None:
    """Publish a finished run: as a data set on the Hugging Face hub, or as a copy in a folder or object store.

    A new data set on the hub is private, unless --public is given. A card (README.md) says what the run is, how it was
    made and what its columns mean; it states no licence, which is yours to add. With --no-texts, the examples and the
    report are left out. A token comes from `hf auth login` or HF_TOKEN.

    \b
    skilljobs push runs/RUN hf://datasets/OWNER/NAME --dry-run
    skilljobs push runs/RUN hf://datasets/OWNER/NAME --no-texts
    skilljobs push runs/RUN s3://BUCKET/published/RUN
    """
    from skilljobs.export.pushing import push as push_run
    from skilljobs.store.run import RunFiles

    files = RunFiles(run)
    planned = push_run(files, place, shards, texts, public, dry_run=True)
    what = f"{planned.files} files, {planned.size / 1e6:.1f} MB"
    if dry_run:
        say(f"{what} would be published at {planned.place}")
        return
    say(f"publishing {what}", err=True)
    pushed = push_run(files, place, shards, texts, public)
    if pushed.card_kept:
        say("the card that is there (README.md) was left as it is", err=True)
    say(pushed.place)
