"""What is printed of a series of models."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import polars as pl
from rich import box
from rich.table import Table
from rich.text import Text

from skilljobs.cli.tables import table_console
from skilljobs.errors import InputError
from skilljobs.printable import printable
from skilljobs.stats.layout import ALL

if TYPE_CHECKING:
    from skilljobs.series import Series

COLUMNS = ("model", "accuracy", "strongest", "half 0", "half 1", "null", "above", "hold", "of last", "ranks", "shared")


def title_metric(series: "Series") -> str:
    """The metric that is shown where none is named.

    Raises:
        InputError: no run has correlations yet, or they have no metric in common.
    """
    if not series.metrics:
        raise InputError(f"the runs of {series.uri} have no correlations yet, or no metric in common")
    return series.metrics[0]


def print_series(series: "Series", metrics: Sequence[str], population: str = ALL, k: int = 100) -> None:
    """Print a table for each metric, with what it says and what may mislead."""
    console = table_console()
    for metric in metrics:
        rows = series.emergence(metric, population, k)
        console.print(emergence_table(rows, f"{metric}, {population}, by model"))
        for sentence in series.conclusions(metric, population):
            console.print(printable(sentence), soft_wrap=True)
    console.print(
        "half 0, half 1: r of the neuron of largest |r| on half 0, and what it is on half 1, against the null threshold"
        " there; above: neurons above the null over all examples; hold: of those found on half 0, how many hold on half"
        " 1; of last: r on half 1 of the last model's strongest neuron on half 0; ranks: Spearman's correlation of r"
        " over neurons with the last model; shared: how many of the top neurons both have, and how many by chance",
        soft_wrap=True,
    )


def emergence_table(rows: pl.DataFrame, title: str) -> Table:
    """The table of one metric; `rows` are those of `emergence`."""
    table = Table(title=Text(printable(title)), title_justify="left", box=box.SIMPLE_HEAD)
    for name in COLUMNS:
        if name == "model":  # a long name is broken before digits are cut
            table.add_column(name, overflow="fold", min_width=8)
        else:
            table.add_column(name, justify="right", no_wrap=True)
    for row in rows.iter_rows(named=True):
        table.add_row(Text(printable(row["checkpoint"])), *_cells(row))
    return table


def _cells(row: dict[str, Any]) -> list[str]:
    if row["neurons"] is None:
        return ["not finished", *["-"] * (len(COLUMNS) - 2)]
    expert = "" if row["expert"] is None else f"{row['expert']}/"
    token = "" if row["token"] is None else f" @{row['token']}"
    name = "-" if row["layer"] is None else f"{row['layer']}/{expert}{row['neuron']}{token}"
    shared = "-" if row["overlap"] is None else f"{row['overlap']}/{row['k']} ({row['expected_overlap']:.2g})"
    hold = "-" if row["hold"] is None else f"{row['hold']:,}/{row['found']:,}"
    return [
        _number(row["accuracy"], "{:.3f}"),
        name,
        _number(row["r_half0"], "{:+.3f}"),
        _number(row["r_half1"], "{:+.3f}"),
        _number(row["null_half1"], "{:.3f}"),
        _number(row["above"], "{:,}"),
        hold,
        _number(row["last_r_half1"], "{:+.3f}"),
        _number(row["rank_correlation"], "{:+.3f}"),
        shared,
    ]


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)
