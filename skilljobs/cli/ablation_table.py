"""The table that `skilljobs ablate` prints, and its conclusion."""

import json
import math
from collections.abc import Sequence
from typing import Any

import click
import polars as pl
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from skilljobs.analysis.ablation_summary import LEVEL, compared_rows, conclusion
from skilljobs.cli.tables import table_console
from skilljobs.printable import printable
from skilljobs.stats.layout import ALL

FEWEST_CHARACTERS = 12
"""Of a name that is cut."""
WIDEST = 10_000
BETWEEN = 3
"""Characters between two columns."""
MOST_GROUPS = 8
"""Groups that are shown; all of them are in `ablation.parquet`."""


def print_ablation(rows: pl.DataFrame, form: str, specificity: str | None) -> None:
    """Print the rows of one ablation on standard output."""
    if form == "json":
        click.echo(json.dumps(rows.to_dicts(), indent=2))
        return
    if form == "csv":
        click.echo(rows.write_csv(), nl=False)
        return
    console = table_console()
    groups = [name for name in dict.fromkeys(rows["group"]) if specificity is None or name == ALL]
    for group in groups[:MOST_GROUPS]:
        _print_whole(console, _table(console, compared_rows(rows, group), rows, group))
    if specificity is not None:
        for k in sorted(set(rows.filter(pl.col("set") == "top")["k"])):
            _print_whole(console, _matrix(console, rows, k))
    if len(groups) > MOST_GROUPS:
        console.print(f"{len(groups) - MOST_GROUPS} more groups are in ablation.parquet")
    console.print(printable(conclusion(rows)))


def _print_whole(console: Console, table: Table) -> None:
    """Print a table whose lines may be longer than those of the terminal, which goes on in the next one: a number that
    is cut looks like another number."""
    needed = console.measure(table, options=console.options.update(width=WIDEST)).maximum
    Console(highlight=False, markup=False, width=max(console.width, needed)).print(table)


def _table(console: Console, tested: pl.DataFrame, rows: pl.DataFrame, group: str) -> Table:
    outcome, how, at = (str(rows[name][0]) for name in ("outcome", "how", "at"))
    before = rows.filter(pl.col("group") == group, pl.col("set") == "none")
    accuracy = before["accuracy"][0] if len(before) else None
    known = "" if accuracy is None else f", accuracy {accuracy:.3f} with nothing changed"
    title = f"{group}: {how} at {'all positions' if at == 'all' else 'the prompt'}{known}"
    table = Table(title=Text(printable(title)), title_justify="left", box=box.SIMPLE_HEAD)
    has_prompts = bool(tested["prompt"].count()) if len(tested) else False
    names = ["neurons", *(["prompt"] if has_prompts else []), "k", "accuracy", outcome, "95 %", "controls", "p", "n"]
    printed = []
    for row in tested.iter_rows(named=True):
        interval = "-" if row["ci_low"] is None else f"{row['ci_low']:+.3g} .. {row['ci_high']:+.3g}"
        controls = "-" if row["controls_low"] is None else f"{row['controls_low']:+.3g} .. {row['controls_high']:+.3g}"
        cells = [
            row["metric"] or "listed",
            *([str(row["prompt"])] if has_prompts else []),
            str(row["k"]),
            "-" if row["delta_accuracy"] is None else f"{row['delta_accuracy']:+.3f}",
            "-" if row["delta"] is None else f"{row['delta']:+.3g}",
            interval,
            controls,
            "-" if row["p"] is None else f"{row['p']:.3f}{' *' if row['seen_half1'] else ''}",
            str(row["n"]),
        ]
        printed.append(cells)
    return _filled(console, table, names, printed)


def _filled(console: Console, table: Table, names: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """The table with columns of these names. Where it is too wide, the first column is cut, and no number."""
    widths = [max(map(len, [name, *(row[place] for row in rows)])) for place, name in enumerate(names)]
    room = console.width - sum(width + BETWEEN for width in widths[1:]) - BETWEEN
    table.add_column(printable(names[0]), no_wrap=True, max_width=max(FEWEST_CHARACTERS, room))
    for name, width in zip(names[1:], widths[1:], strict=True):
        table.add_column(printable(name), justify="right", no_wrap=True, min_width=width)
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    return table


def _matrix(console: Console, rows: pl.DataFrame, k: int) -> Table:
    """The change of the outcome on the examples of each value (columns), by whose neurons are changed (rows)."""
    outcome = str(rows["outcome"][0])
    shown = rows.filter(pl.col("set") == "top", pl.col("k") == k)
    levels = [metric for metric in dict.fromkeys(shown["metric"]) if metric in set(shown["group"])]
    delta = f"delta_{outcome}"
    exponent = _exponent(shown.filter(pl.col("group").is_in(levels))[delta].drop_nulls().abs().max())
    scaled = f", times 10^{exponent}" if exponent else ""
    title = f"change of the {outcome}{scaled}, {k} neurons of each changed; columns: on whose examples, as the rows"
    table = Table(title=Text(printable(title)), title_justify="left", box=box.SIMPLE_HEAD)
    printed = []
    for number, metric in enumerate(levels):
        of_metric = {row["group"]: row for row in shown.filter(pl.col("metric") == metric).iter_rows(named=True)}
        printed.append([f"{number}  {metric}", *(_cell(of_metric[level], delta, exponent) for level in levels)])
    return _filled(console, table, ["neurons of", *map(str, range(len(levels)))], printed)


def _exponent(largest: Any) -> int:
    """The power of ten in whose units numbers of up to this size are shown; 0 where they are short as they are."""
    if not largest or not math.isfinite(largest) or 0.1 <= largest < 1000:
        return 0
    return math.floor(math.log10(largest))


def _cell(row: dict[str, Any], name: str, exponent: int) -> str:
    """A change in units of a power of ten, with a star where it is beyond the controls'."""
    star = "*" if row["p"] is not None and row["p"] <= LEVEL else ""
    return "-" if row[name] is None else f"{row[name] / 10.0**exponent:+.2f}{star}"
