"""What an ablation found, in rows for a table and in a sentence that claims no more than its evidence."""

import polars as pl

from skilljobs.stats.layout import ALL

LEVEL = 0.05


def compared_rows(rows: pl.DataFrame, group: str) -> pl.DataFrame:
    """The rows of the sets that are compared with controls, over one group, with the controls' mean and range."""
    of_group = rows.filter(pl.col("group") == group)
    outcome = _outcome(rows)
    keys = ["metric", "k", "prompt"]
    controls = (
        of_group.filter(pl.col("set") == "random")
        .group_by(keys)
        .agg(
            pl.col(f"delta_{outcome}").mean().alias("controls_mean"),
            pl.col(f"delta_{outcome}").min().alias("controls_low"),
            pl.col(f"delta_{outcome}").max().alias("controls_high"),
        )
    )
    tested = of_group.filter(pl.col("set").is_in(["top", "listed"]))
    return tested.join(controls, on=keys, how="left", nulls_equal=True, maintain_order="left").with_columns(
        delta=pl.col(f"delta_{outcome}")
    )


def conclusion(rows: pl.DataFrame) -> str:
    """What the ablation says over all examples."""
    tested = compared_rows(rows, ALL)
    if tested.is_empty():
        return "No set was compared with controls over all examples."
    outcome = _outcome(rows).replace("_", " ")
    beyond = tested.filter(pl.col("p") <= LEVEL)
    fewest = min(tested["controls"])
    what = f"{len(tested)} sets" if len(tested) > 1 else "the set"
    if 1 / (fewest + 1) > LEVEL:
        text = f"There are {fewest} controls, too few for any p of {LEVEL} or less."
    elif beyond.is_empty():
        text = (
            f"Changing {what} moves the {outcome} no further than changing random neurons of the same layers, spread"
            f" and output norm does (p above {LEVEL}, {fewest} controls): no sign that these neurons in particular"
            " cause it."
        )
    else:
        named = ", ".join(_named(row) for row in beyond.iter_rows(named=True))
        of = f" for {len(beyond)} of {len(tested)} sets" if len(tested) > 1 else ""
        text = (
            f"The {outcome} moves further than with random neurons of the same layers, spread and output norm{of}:"
            f" {named}."
        )
        if len(tested) > 1:
            text += f" With {len(tested)} sets tested, one has p <= {LEVEL} by chance more often than in 5 % of cases."
    if tested["seen_half1"].any():
        text += " Listed neurons may have been chosen by what half 1 shows (`top` does), and their p is then too small."
    return text


def _named(row: dict[str, object]) -> str:
    who = f"{row['metric']}, k = {row['k']}" if row["set"] == "top" else f"the {row['k']} listed"
    interval = "" if row["ci_low"] is None else f" (95 % {row['ci_low']:+.3g} .. {row['ci_high']:+.3g})"
    prompt = "" if row["prompt"] is None else f" with prompt {row['prompt']}"
    return f"{who}{prompt} by {row['delta']:+.3g}{interval}, p = {row['p']:.2g}"


def _outcome(rows: pl.DataFrame) -> str:
    return str(rows["outcome"][0]) if len(rows) else "margin"
