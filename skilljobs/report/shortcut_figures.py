"""The figures of searches for shortcuts: how far each property leads the model, and what silencing takes of that."""

from collections.abc import Iterator

import altair as alt
import polars as pl

from skilljobs.analysis.shortcut_summary import shortcut_conclusions
from skilljobs.report.charts import Figure, labels
from skilljobs.store.reader import RunReader
from skilljobs.store.run import SHORTCUTS_NAME

MOST_PROPERTIES = 24
LONGEST_NAME = 64
"""Characters of a property's name, and at some 6 pixels each the room that the axis leaves for it."""
VERDICTS = ("shortcut", "undecided", "correlate")
COLOURS = ("#c1272d", "#7f7f7f", "#0072b2")
"""One for each verdict, apart for colour-blind eyes too; the shapes of the points differ as well."""


def shortcut_figures(run: RunReader) -> Iterator[Figure]:
    """Yield the figures of all searches of a run in which a neuron follows a property."""
    if not run.folder.exists(SHORTCUTS_NAME):
        return
    rows = run.shortcut_rows().collect()
    for (search, prompt), of_it in rows.group_by("shortcuts", "prompt", maintain_order=True):
        suffix = str(search) if prompt is None else f"{search}-prompt{prompt}"
        who = f"the neurons that follow {of_it['metric'][0]}" if of_it["metric"][0] else "the listed neurons"
        caption = (
            f"Properties that {who} follow ({of_it['population'][0]}): how much more often the model gives what each"
            " points to, or is right, with it than without it, within groups and right answers (95 % interval over"
            " units); a tick shows what is left once the neurons that follow it are silenced. "
            + " ".join(shortcut_conclusions(of_it))
        )
        if of_it["rate"].is_not_null().any():
            yield Figure(f"shortcuts-{suffix}", leads_chart(of_it), caption)


def leads_chart(rows: pl.DataFrame) -> alt.TopLevelMixin:
    """A line for each followed property: its lead with interval, what silencing leaves of it, and the verdict."""
    judged = rows.filter(pl.col("verdict") != "none", pl.col("rate").is_not_null())
    shown = judged.unique("property", keep="first", maintain_order=True).head(MOST_PROPERTIES)
    names = labels(shown["property"].to_list(), LONGEST_NAME)
    values = [
        {
            "property": names[row["property"]], "verdict": row["verdict"], "lead": row["rate"], "low": row["rate_low"],
            "high": row["rate_high"], "left": None if row["fall"] is None else row["rate"] - row["fall"],
            "r": row["r_half1"], "neuron": f"{row['layer']}/{row['neuron']}", "reason": row["reason"],
        }
        for row in shown.iter_rows(named=True)
    ]  # fmt: skip
    title = "difference in the model's answers with and without it"
    y = alt.Y("property:N", sort=list(names.values()), title=None, axis=alt.Axis(labelLimit=6 * LONGEST_NAME))
    x_axis = alt.Axis(format="+.0%")
    colour = alt.Color("verdict:N", scale=alt.Scale(domain=list(VERDICTS), range=list(COLOURS)), title="verdict")
    base = alt.Chart(alt.Data(values=values))
    tooltip = [
        alt.Tooltip("property:N", title="property"), alt.Tooltip("neuron:N", title="neuron"),
        alt.Tooltip("r:Q", title="r on half 1", format="+.3f"), alt.Tooltip("lead:Q", title=title, format="+.1%"),
        alt.Tooltip("low:Q", title="95 % from", format="+.1%"), alt.Tooltip("high:Q", title="to", format="+.1%"),
        alt.Tooltip("left:Q", title="with its neurons silenced", format="+.1%"),
        alt.Tooltip("verdict:N", title="verdict"), alt.Tooltip("reason:N", title="since"),
    ]  # fmt: skip
    layers = [
        base.mark_rule(style="zero").encode(x=alt.XDatum(0)),
        base.mark_rule().encode(x=alt.X("low:Q", title=title, axis=x_axis), x2="high:Q", y=y, color=colour),
        base.mark_tick(thickness=2, size=12).encode(x=alt.X("left:Q", title=title), y=y, color=colour),
        base.mark_point(filled=True, size=60).encode(
            x=alt.X("lead:Q", title=title), y=y, color=colour, shape=alt.Shape("verdict:N", title="verdict"),
            tooltip=tooltip,
        ),
    ]  # fmt: skip
    return alt.layer(*layers).properties(width=360, height=alt.Step(20))
