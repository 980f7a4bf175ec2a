"""Tables for a terminal."""

from collections.abc import Sequence
from typing import Any

import polars as pl
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from skilljobs.analysis.null_thresholds import NoThreshold, NullThreshold
from skilljobs.printable import printable

COLUMNS = (
    "layer",
    "expert",
    "neuron",
    "token",
    "r",
    "null",
    "95 %",
    "p",
    "q",
    "half 0",
    "half 1",
    "predictivity",
    "mean",
    "std",
    "n",
)
OPTIONAL_COLUMNS = ("std", "mean", "p", "n", "q")
"""Columns that are left out, in this order, if the terminal is narrow, because digits must not be cut."""
RARE_COLUMNS = ("expert", "token", "predictivity", "null")
WIDTH_WITHOUT_TERMINAL = 120


def table_console() -> Console:
    """Return a console on standard output, which is wide enough for a table if that is not a terminal."""
    console = Console(highlight=False, markup=False)
    return console if console.is_terminal else Console(highlight=False, markup=False, width=WIDTH_WITHOUT_TERMINAL)


def neuron_table(
    rows: pl.DataFrame, title: str, console: Console, threshold: NullThreshold | NoThreshold | None = None
) -> Table:
    """Return a table of correlations: each r with its interval, p, q, and r on each half.

    Neurons whose |r| is not above `threshold` are marked. Columns are left out until the table fits the width of
    `console`.
    """
    if isinstance(threshold, NullThreshold):
        is_below = pl.col("r").abs() <= threshold.r
        rows = rows.with_columns(null=pl.when(is_below).then(pl.lit("below")))
    columns = _used(COLUMNS, rows)
    table = _table(rows, title, columns)
    for name in OPTIONAL_COLUMNS:
        if console.measure(table, options=console.options.update(width=1000)).maximum <= console.width:
            break
        columns.remove(name)
        table = _table(rows, title, columns)
    return table


def metric_rows(rows: pl.DataFrame, title: str) -> Table:
    """Return a table of one neuron's correlation with each metric."""
    table = Table(title=Text(printable(title)), title_justify="left", box=box.SIMPLE_HEAD)
    names = ("metric", "r", "95 %", "q", "half 0", "half 1", "n")
    for name in names:
        table.add_column(name, justify="left" if name == "metric" else "right", no_wrap=True)
    for row in rows.iter_rows(named=True):
        cells = _cells(row)
        table.add_row(Text(printable(row["metric"])), *(cells[name] for name in names[1:]))
    return table


def snapshot_table(top: pl.DataFrame, title: str) -> Table:
    """Return a table of the strongest neurons of each metric while a run is being collected."""
    table = Table(title=Text(printable(title)), title_justify="left", box=box.SIMPLE_HEAD)
    columns = _used(("layer", "expert", "neuron", "token", "r", "95 %", "n"), top)
    table.add_column("metric", no_wrap=True)
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    for row in top.iter_rows(named=True):
        cells = _cells(row)
        table.add_row(Text(printable(row["metric"])), *(cells[name] for name in columns))
    return table


def overlap_table(shared: pl.DataFrame, title: str) -> Table:
    """Return a table of how many top neurons each pair of metrics shares, with columns numbered like the rows."""
    table = Table(title=Text(printable(title)), title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("metric", no_wrap=True)
    for number in range(len(shared)):
        table.add_column(str(number), justify="right")
    for number, row in enumerate(shared.iter_rows()):
        table.add_row(Text(printable(f"{number}  {row[0]}")), *map(str, row[1:]))
    return table


def given_others_table(correlations: pl.DataFrame, title: str) -> Table:
    """Return a table of the top neurons of each metric, with the partial r given the other metrics."""
    table = Table(title=Text(printable(title)), title_justify="left", box=box.SIMPLE_HEAD)
    neuron = _used(("layer", "expert", "neuron"), correlations)
    for name in ("metric", *neuron, "r", "given the others", "p"):
        table.add_column(name, justify="left" if name == "metric" else "right", no_wrap=True)
    for row in correlations.iter_rows(named=True):
        table.add_row(
            Text(printable(row["metric"])),
            *("-" if row[name] is None else str(row[name]) for name in neuron),
            _r(row["r"]),
            _r(row["r_given_others"]),
            _small(row["p_given_others"]),
        )
    return table


def agreement_table(pairs: pl.DataFrame, title: str) -> Table:
    """Return a table of how far each pair of a run's soft prompts agrees."""
    table = Table(title=Text(printable(title)), title_justify="left", box=box.SIMPLE_HEAD)
    for name in ("prompts", "correlation of r", "top k", "in both", "expected", "p"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in pairs.iter_rows(named=True):
        table.add_row(
            f"{row['prompt_first']}, {row['prompt_second']}",
            _r(row["r_correlation"]),
            str(row["k"]),
            str(row["overlap"]),
            _number(row["expected_overlap"]),
            _small(row["p"]),
        )
    return table


def null_text(threshold: NullThreshold | NoThreshold) -> str:
    """Return a sentence that gives the null threshold, or says why there is none."""
    if isinstance(threshold, NoThreshold):
        return f"no null threshold: {threshold.reason}"
    text = (
        f"null threshold: |r| = {threshold.r:.3f} (a random metric exceeds it somewhere in the model"
        f" with probability {threshold.level:.1%})"
    )
    if threshold.is_approximate:
        text += "; it is approximate, scaled from that of all examples by the degrees of freedom"
    if threshold.too_low:
        text += "; this metric is skewed, with a few extreme values, so it exceeds the threshold by chance more often"
    return text


def _used(columns: Sequence[str], rows: pl.DataFrame) -> list[str]:
    """The columns to show: some are absent, or null throughout, where a model or a run has none."""
    return [name for name in columns if name not in RARE_COLUMNS or (name in rows and rows[name].count())]


def _table(rows: pl.DataFrame, title: str, columns: list[str]) -> Table:
    table = Table(title=Text(printable(title)), title_justify="left", box=box.SIMPLE_HEAD)
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows.iter_rows(named=True):
        cells = _cells(row)
        table.add_row(*(cells[name] for name in columns))
    return table


def _cells(row: dict[str, Any]) -> dict[str, str]:
    return {
        "layer": str(row["layer"]),
        "expert": "-" if row["expert"] is None else str(row["expert"]),
        "neuron": str(row["neuron"]),
        "token": "-" if row["token"] is None else str(row["token"]),
        "r": _r(row["r"]),
        "null": row.get("null") or "",
        "95 %": f"{_r(row['ci_low'])} .. {_r(row['ci_high'])}",
        "p": _small(row["p"]),
        "q": _small(row["q"]),
        "half 0": _r(row["r_half0"]),
        "half 1": _r(row["r_half1"]),
        "predictivity": _number(row.get("predictivity")),
        "mean": _number(row["activation_mean"]),
        "std": _number(row["activation_std"]),
        "n": str(row["n"]),
    }


def _r(value: float | None) -> str:
    return "-" if value is None else f"{value:+.3f}"


def _small(value: float | None) -> str:
    return "-" if value is None else f"{value:.1e}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
