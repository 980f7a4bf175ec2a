"""What a search for shortcuts found, in sentences that claim no more than its evidence."""

from typing import Any

import polars as pl

from skilljobs.printable import counted

MOST_NAMED = 5


def shortcut_conclusions(rows: pl.DataFrame) -> list[str]:
    """Sentences about the rows of one search."""
    sentences = []
    untested = rows.filter(pl.col("r_half1").is_null(), pl.col("verdict") == "undecided")
    rows = rows.join(untested, on=["prompt", "property"], how="anti", nulls_equal=True)
    own = rows.filter(pl.col("compared_with").is_null())
    examples = own.select((pl.col("n_with") + pl.col("n_without")).max()).item() or 0
    tried = rows.select(pl.struct("prompt", "property").n_unique()).item()
    judged = rows.filter(pl.col("verdict") != "none").unique(["prompt", "property"], maintain_order=True)
    detectable = judged["rate_detectable"].drop_nulls()
    if len(detectable):
        low, high = (f"{value:.0%}" for value in (min(detectable), max(detectable)))
        spread = low if low == high else f"{low} to {high} (it depends on the property)"
        sentences.append(
            f"On {examples:,} examples of half 1, a difference in the model's answers"
            f" of {spread} would be noticed in 80 % of cases; smaller ones may be there."
        )
    neurons = rows.unique(["prompt", "layer", "expert", "neuron"])
    if judged.is_empty():
        sentences.append(
            f"None of the {tried} properties that were tried is followed by any of the"
            f" {counted(len(neurons), 'neuron')} on both halves."
        )
    else:
        counts = {
            name: len(judged.filter(pl.col("verdict") == name)) for name in ("shortcut", "undecided", "correlate")
        }
        followed = f"{len(judged)} of {tried} properties are followed by a neuron on both halves"
        parts = [f"{count} {name}" for name, count in counts.items() if count]
        sentences.append(f"{followed}: {', '.join(parts)}.")
        found = judged.filter(pl.col("verdict") == "shortcut")
        sentences += [_sentence(row) for row in found.head(MOST_NAMED).iter_rows(named=True)]
        if found.is_empty():
            sentences.append("No property was shown to be a shortcut.")
    always = untested.unique("property", maintain_order=True)
    if len(always):
        named = ", ".join(repr(name) for name in always["property"].head(MOST_NAMED))
        more = f" and {len(always) - MOST_NAMED} more" if len(always) > MOST_NAMED else ""
        sentences.append(f"Undecided: {named}{more}: {always['reason'][0]}.")
    if rows["seen_half1"].any():
        sentences.append("The neurons were listed by hand: if they were chosen by half 1, their p and q are too small.")
    return sentences


def _sentence(row: dict[str, Any]) -> str:
    expert = "" if row["expert"] is None else f"{row['expert']}/"
    neuron = f"neuron {row['layer']}/{expert}{row['neuron']}, r = {row['r_half1']:+.2f} on half 1"
    with_prompt = "" if row["prompt"] is None else f", prompt {row['prompt']}"
    side = f" ({row['side']})" if row["side"] else ""
    return f"Shortcut: {row['property']}{side} ({neuron}{with_prompt}): {row['reason']}."
