"""Tables for a terminal."""

from typing import Any

import polars as pl
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from skilljobs.analysis.ranking import NullThreshold

COLUMNS = ("layer", "neuron", "token", "r", "95 %", "p", "q", "half 0", "half 1", "mean", "std", "n")
LESS_NEEDED = ("std", "mean", "p", "n", "q")
"""Left out in this order where the terminal is narrow: digits are never cut."""
WIDTH_OF_NO_TERMINAL = 120


def table_console() -> Console:
    """Standard output, wide enough for a table where it is not a terminal."""
    console = Console(highlight=False, markup=False)
    return console if console.is_terminal else Console(highlight=False, markup=False, width=WIDTH_OF_NO_TERMINAL)


def correlation_table(rows: pl.DataFrame, title: str, console: Console) -> Table:
    """Correlations as people read them: each r with its interval, q, and r on either half."""
    aggregated = rows["token"].null_count() == len(rows)
    shown = [name for name in COLUMNS if not (aggregated and name == "token")]
    table = _table(rows, title, shown)
    for name in LESS_NEEDED:
        if console.measure(table, options=console.options.update(width=1000)).maximum <= console.width:
            break
        shown.remove(name)
        table = _table(rows, title, shown)
    return table


def metric_rows(rows: pl.DataFrame, title: str) -> Table:
    """One neuron's correlation with each metric."""
    table = Table(title=Text(title), title_justify="left", box=box.SIMPLE_HEAD)
    names = ("metric", "r", "95 %", "q", "half 0", "half 1", "n")
    for name in names:
        table.add_column(name, justify="left" if name == "metric" else "right", no_wrap=True)
    for row in rows.iter_rows(named=True):
        cells = _cells(row)
        table.add_row(Text(row["metric"]), *(cells[name] for name in names[1:]))
    return table


def so_far_table(top: pl.DataFrame, title: str) -> Table:
    """The strongest neurons of each metric while a run is being collected."""
    table = Table(title=Text(title), title_justify="left", box=box.SIMPLE_HEAD)
    names = ("layer", "neuron", "token", "r", "95 %", "n")
    shown = [name for name in names if name != "token" or top["token"].count()]
    table.add_column("metric", no_wrap=True)
    for name in shown:
        table.add_column(name, justify="right", no_wrap=True)
    for row in top.iter_rows(named=True):
        cells = _cells(row)
        table.add_row(Text(row["metric"]), *(cells[name] for name in shown))
    return table


def overlap_table(shared: pl.DataFrame, title: str) -> Table:
    """How many top neurons every two metrics share; the columns are numbered as the rows are."""
    table = Table(title=Text(title), title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("metric", no_wrap=True)
    for number in range(len(shared)):
        table.add_column(str(number), justify="right")
    for number, row in enumerate(shared.iter_rows()):
        table.add_row(Text(f"{number}  {row[0]}"), *map(str, row[1:]))
    return table


def beside_table(beside: pl.DataFrame, title: str) -> Table:
    """The top neurons of each metric, with the r that is left when the other metrics are held fixed."""
    table = Table(title=Text(title), title_justify="left", box=box.SIMPLE_HEAD)
    for name in ("metric", "layer", "neuron", "r", "given the others", "p"):
        table.add_column(name, justify="left" if name == "metric" else "right", no_wrap=True)
    for row in beside.iter_rows(named=True):
        place = (str(row["layer"]), str(row["neuron"]))
        table.add_row(
            Text(row["metric"]), *place, _r(row["r"]), _r(row["r_given_others"]), _small(row["p_given_others"])
        )
    return table


def agreement_table(pairs: pl.DataFrame, title: str) -> Table:
    """How far every two soft prompts of a run agree."""
    table = Table(title=Text(title), title_justify="left", box=box.SIMPLE_HEAD)
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


def null_text(threshold: NullThreshold) -> str:
    """The null's threshold in a sentence."""
    text = (
        f"null threshold: |r| = {threshold.r:.3f} (a random metric exceeds it somewhere in the model"
        f" with probability {threshold.level:.1%})"
    )
    if threshold.too_low:
        text += "; this metric is skewed: with few examples far out, chance exceeds it more often"
    return text


def _table(rows: pl.DataFrame, title: str, shown: list[str]) -> Table:
    table = Table(title=Text(title), title_justify="left", box=box.SIMPLE_HEAD)
    for name in shown:
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows.iter_rows(named=True):
        cells = _cells(row)
        table.add_row(*(cells[name] for name in shown))
    return table


def _cells(row: dict[str, Any]) -> dict[str, str]:
    return {
        "layer": str(row["layer"]),
        "neuron": str(row["neuron"]),
        "token": "-" if row["token"] is None else str(row["token"]),
        "r": _r(row["r"]),
        "95 %": f"{_r(row['ci_low'])} .. {_r(row['ci_high'])}",
        "p": _small(row["p"]),
        "q": _small(row["q"]),
        "half 0": _r(row["r_half0"]),
        "half 1": _r(row["r_half1"]),
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
