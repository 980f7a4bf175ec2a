"""Tables for a terminal."""

import polars as pl
from rich import box
from rich.console import Console
from rich.table import Table

COLUMNS = ("layer", "neuron", "token", "r", "95 %", "p", "q", "half 0", "half 1", "mean", "std", "n")
WIDTH_OF_NO_TERMINAL = 120


def table_console() -> Console:
    """Standard output, wide enough for a table where it is not a terminal."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=WIDTH_OF_NO_TERMINAL)


def correlation_table(rows: pl.DataFrame, title: str) -> Table:
    """Correlations as people read them: each r with its interval, q, and r on either half."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    aggregated = rows["token"].null_count() == len(rows)
    shown = [name for name in COLUMNS if not (aggregated and name == "token")]
    for name in shown:
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows.iter_rows(named=True):
        cells = {
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
        table.add_row(*(cells[name] for name in shown))
    return table


def _r(value: float | None) -> str:
    return "-" if value is None else f"{value:+.3f}"


def _small(value: float | None) -> str:
    return "-" if value is None else f"{value:.1e}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
