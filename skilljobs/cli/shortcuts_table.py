"""What `skilljobs shortcuts` prints: sentences, the properties of each neuron, and examples for and against."""

import json
from collections.abc import Sequence
from typing import Any

import click
import polars as pl
from rich import box
from rich.table import Table
from rich.text import Text

from skilljobs.analysis.matched_examples import MATCHED
from skilljobs.analysis.shortcut_summary import shortcut_conclusions
from skilljobs.cli.tables import table_console
from skilljobs.printable import counted, printable
from skilljobs.store.reader import RunReader
from skilljobs.store.shortcut_files import matched_folder

MOST_NEURONS, PER_NEURON = 5, 4
"""Neurons that are shown, and properties of each; all of them are in `shortcuts.parquet`."""
LONGEST = 100
"""Characters of an example that are shown."""


def print_shortcuts(run: RunReader, rows: pl.DataFrame, form: str) -> None:
    """Print the rows of one search on standard output."""
    if form == "json":
        click.echo(json.dumps(rows.to_dicts(), indent=2))
        return
    if form == "csv":
        lists = [pl.col(name).list.join("; ") for name in ("alike", "examples_for", "examples_against")]
        click.echo(rows.with_columns(lists).write_csv(), nl=False)
        return
    console = table_console()
    for sentence in shortcut_conclusions(rows):
        console.print(Text(printable(sentence)))
    tables = list(rows.group_by("prompt", "layer", "expert", "neuron", maintain_order=True))
    for _, of_neuron in tables[:MOST_NEURONS]:
        console.print(_table(of_neuron))
    if len(tables) > MOST_NEURONS:
        more = counted(len(tables) - MOST_NEURONS, "more neuron")
        console.print(f"{more} in shortcuts.parquet")
    first = rows.filter(pl.col("verdict") != "none").head(1)
    for row in first.iter_rows(named=True):
        _print_examples(run, row, console)


def _table(rows: pl.DataFrame) -> Table:
    row = rows.row(0, named=True)
    expert = "" if row["expert"] is None else f"{row['expert']}/"
    prompt = "" if row["prompt"] is None else f", prompt {row['prompt']}"
    title = f"neuron {row['layer']}/{expert}{row['neuron']}{prompt}"
    table = Table(title=Text(title), title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("property")
    for name in ("share", "half 0", "half 1", "q", "accuracy", "verdict"):
        table.add_column(name, justify="left" if name == "verdict" else "right", no_wrap=True)
    followed = rows.filter(pl.col("verdict") != "none", pl.col("r_half1").is_not_null())
    shown = followed.head(PER_NEURON) if len(followed) else rows.sort(pl.col("r_half0").abs(), descending=True).head(1)
    for found in shown.iter_rows(named=True):
        table.add_row(*(Text(printable(cell)) for cell in _cells(found)))
    return table


def _cells(row: dict[str, Any]) -> list[str]:
    alike = f" (as {len(row['alike'])} more)" if row["alike"] else ""
    side = f" ({row['side']})" if row["side"] else ""
    return [
        f"{row['property']}{side}{alike}",
        "-" if row["share"] is None else f"{row['share']:.2f}",
        *("-" if row[name] is None else f"{row[name]:+.3f}" for name in ("r_half0", "r_half1")),
        "-" if row["q"] is None else f"{row['q']:.2g}",
        f"{_percent(row['accuracy_with'])} / {_percent(row['accuracy_without'])}",
        row["verdict"],
    ]


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _print_examples(run: RunReader, row: dict[str, Any], console: Any) -> None:
    console.print(Text(printable(f"{row['property']}: {row['verdict']}, since {row['reason']}")))
    ids = [*(row["examples_for"] or ()), *(row["examples_against"] or ())]
    reader = run.prompts()[row["prompt"] or 0]
    texts = _texts(reader, ids, "")
    if row["compared_with"] is not None:
        texts |= _texts(RunReader(f"{reader.uri}/{matched_folder(row['shortcuts'])}"), ids, MATCHED)
    for title, names in (("with it", row["examples_for"]), ("without it", row["examples_against"])):
        for name in names or ():
            text = " ".join(texts[name].split())
            if run.record.job_spec.few_shot:  # worked examples come first, which are the same for all
                cut = text if len(text) <= LONGEST else "..." + text[3 - LONGEST :]
            else:
                cut = text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."
            console.print(Text(printable(f"  {title}, where the neuron speaks for it most: {cut}")))


def _texts(run: RunReader, ids: Sequence[str], prefix: str) -> dict[str, str]:
    """The texts of those of `ids` that are examples of `run`, where they have `prefix` in front of their own."""
    own = [name.removeprefix(prefix) for name in ids if name.startswith(prefix)]
    stored = run.examples().filter(pl.col("example_id").is_in(own)).select("example_id", "text").collect()
    return {prefix + name: text for name, text in stored.iter_rows()}
