"""Tables for a terminal."""

import polars as pl
from rich import box
from rich.table import Table


def correlation_table(rows: pl.DataFrame, title: str) -> Table:
    """Correlations as people read them: each r with its interval, q, and r on either half."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    with_token = rows["token"].null_count() < len(rows)
    for name in ("layer", "neuron", *(("token",) if with_token else ()), "r", "95 %", "p", "q", "half 0", "half 1", "mean", "std", "n"):
        table.add_column(name, justify="right")
    for row in rows.iter_rows(named=True):
        table.add_row(
            str(row["layer"]),
            str(row["neuron"]),
            *((_whole(row["token"]),) if with_token else ()),
            _r(row["r"]),
            f"{_r(row['ci_low'])} .. {_r(row['ci_high'])}",
            _small(row["p"]),
            _small(row["q"]),
            _r(row["r_half0"]),
            _r(row["r_half1"]),
            _number(row["activation_mean"]),
            _number(row["activation_std"]),
            str(row["n"]),
        )
    return table


def _whole(value: int | None) -> str:
    return "-" if value is None else str(value)


def _r(value: float | None) -> str:
    return "-" if value is None else f"{value:+.3f}"


def _small(value: float | None) -> str:
    return "-" if value is None else f"{value:.1e}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
