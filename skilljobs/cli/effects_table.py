"""The table of estimated effects that `skilljobs effects` and `top --sort effect` print."""

import json
from typing import Any

import click
import polars as pl
from rich import box
from rich.table import Table
from rich.text import Text

from skilljobs.analysis.effect_ranking import EffectThreshold, effect_threshold
from skilljobs.cli.tables import table_console
from skilljobs.printable import printable
from skilljobs.stats.layout import ALL
from skilljobs.store.reader import RunReader

COLUMNS = ("prompt", "layer", "neuron", "half 0", "effect", "95 %", "null", "p", "q", "size", "r", "n")


def print_effects(run: RunReader, rows: pl.DataFrame, form: str, outcome: str) -> None:
    """Print neurons with their estimated effects on standard output."""
    if form == "json":
        click.echo(json.dumps(rows.to_dicts(), indent=2))
        return
    if form == "csv":
        click.echo(rows.write_csv(), nl=False)
        return
    console = table_console()
    if rows.is_empty():
        console.print(f"no neuron has an effect on the {outcome}")
        return
    prompts = rows["prompt"].unique().to_list()
    thresholds = {prompt: effect_threshold(run, outcome, prompt) for prompt in prompts}
    console.print(_table(rows, outcome, thresholds))
    if rows["group"][0] == ALL:
        for prompt in sorted(prompts, key=lambda number: -1 if number is None else number):
            console.print(_null_text(thresholds[prompt], prompt), soft_wrap=True)
    else:
        console.print("no null threshold: random signs are drawn over all examples alone")
    console.print(
        "Neurons are chosen by their effect on half 0; effect, interval, p and q are of half 1. They are estimates to"
        " first order: `skilljobs ablate RUN --neuron LAYER/NEURON` says what one really does.",
        soft_wrap=True,
    )
    if run.record.units_repeat:
        console.print("examples share units, so p, q and intervals are too small; the null threshold respects units")


def _table(rows: pl.DataFrame, outcome: str, thresholds: dict[int | None, EffectThreshold | None]) -> Table:
    group, name = str(rows["group"][0]), outcome.replace("_", " ")
    beside = f"; r with {rows['metric'][0]}" if "metric" in rows.columns else ""
    title = f"{group}: estimated effect of each neuron's mean at the prompt on the {name} (nats){beside}"
    table = Table(title=Text(printable(title)), title_justify="left", box=box.SIMPLE_HEAD)
    left_out = {"prompt"} if rows["prompt"].null_count() else set()
    left_out |= set() if "r" in rows.columns else {"r"}
    left_out |= set() if group == ALL else {"null"}
    columns = [column for column in COLUMNS if column not in left_out]
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows.iter_rows(named=True):
        cells = _cells(row, thresholds[row["prompt"]])
        table.add_row(*(cells[column] for column in columns))
    return table


def _cells(row: dict[str, Any], threshold: EffectThreshold | None) -> dict[str, str]:
    consistency = row["consistency"]
    is_above = threshold is not None and consistency is not None and consistency > threshold.consistency
    return {
        "prompt": str(row["prompt"]),
        "layer": str(row["layer"]),
        "neuron": str(row["neuron"]),
        "half 0": _signed(row["effect_half0"]),
        "effect": _signed(row["effect"]),
        "95 %": "-" if row["ci_low"] is None else f"{row['ci_low']:+.3g} .. {row['ci_high']:+.3g}",
        "null": "" if is_above else "below",
        "p": _small(row["p"]),
        "q": _small(row["q"]),
        "size": "-" if row["effect_abs"] is None else f"{row['effect_abs']:.3g}",
        "r": "-" if row.get("r") is None else f"{row['r']:+.3f}",
        "n": str(row["n"]),
    }


def _null_text(threshold: EffectThreshold | None, prompt: int | None) -> str:
    of_prompt = "" if prompt is None else f" for prompt {prompt}"
    if threshold is None:
        return f"no null threshold{of_prompt}: no neuron has an effect"
    return (
        f"null threshold{of_prompt}: |sum of effects| / root of their sum of squares = {threshold.consistency:.2f}"
        f" (with a random sign for each unit, some neuron exceeds it with probability {threshold.level:.1%})"
    )


def _signed(value: float | None) -> str:
    return "-" if value is None else f"{value:+.3g}"


def _small(value: float | None) -> str:
    return "-" if value is None else f"{value:.1e}"
