"""The figures of ablations: how effects grow with the number of neurons, and whose neurons matter for what."""

from collections.abc import Iterator

import altair as alt
import polars as pl

from skilljobs.analysis.ablation_summary import LEVEL, compared_rows
from skilljobs.report.charts import Figure, labels
from skilljobs.stats.layout import ALL
from skilljobs.store.ablation_tables import complete_ablations
from skilljobs.store.ablations import AblationRecord
from skilljobs.store.reader import RunReader
from skilljobs.store.run import ABLATION_NAME, RunFiles

MOST_PANELS = 6
"""Groups that have a panel; all over them come first."""
PANEL = {"width": 190, "height": 150}
CELL = 46
"""Pixels of a cell of the matrix."""


def ablation_figures(run: RunReader) -> Iterator[Figure]:
    """Yield the figures of all ablations of a run."""
    if run.folder.exists(ABLATION_NAME):
        records = {record.ablation: record for _, _, record in complete_ablations(RunFiles(run.uri))}
        yield from figures_of(run.ablation().collect(), records)


def figures_of(rows: pl.DataFrame, records: dict[str, AblationRecord]) -> Iterator[Figure]:
    """Yield the figures of each ablation in `rows` (the columns of `ablation.parquet`)."""
    for (ablation, prompt), of_it in rows.group_by("ablation", "prompt", maintain_order=True):
        specificity = records[str(ablation)].spec.get("specificity")
        suffix = str(ablation) if prompt is None else f"{ablation}-prompt{prompt}"
        how, at = of_it["how"][0], "all positions" if of_it["at"][0] == "all" else "the prompt"
        with_prompt = "" if prompt is None else f", soft prompt {prompt}"
        if specificity is not None:
            yield Figure(
                f"ablation-matrix-{suffix}",
                specificity_matrix(of_it, str(specificity)),
                f"Whose neurons matter for what? Change on the examples of each {specificity} (columns) when the"
                f" neurons of each {specificity}'s own metric (rows) are changed ({how} at {at}{with_prompt}). A star:"
                f" further than with random neurons of the same kind, p <= {LEVEL}.",
            )
        else:
            metric = of_it["metric"].drop_nulls()
            who = (
                f"the strongest neurons for {metric[0]} ({of_it['population'][0]})" if len(metric) else "listed neurons"
            )
            yield Figure(
                f"ablation-{suffix}",
                dose_response(of_it),
                f"What changing {who} does ({how} at {at}{with_prompt}), on half 1: red, with the 95 % interval of a"
                " bootstrap over units; grey, the mean and range of random sets of the same layers, spread and"
                " output norm. Zero: nothing changed.",
            )


def dose_response(rows: pl.DataFrame) -> alt.TopLevelMixin:
    """The effect of the top or listed set by its size, over the band of its controls, a panel for each group."""
    outcome = rows["outcome"][0].replace("_", " ")
    groups = list(dict.fromkeys(rows["group"]))[:MOST_PANELS]
    shown = labels(["all examples" if group == ALL else group for group in groups])
    table = pl.concat([compared_rows(rows, group) for group in groups]).drop_nulls("delta")
    values = [
        {
            "group": shown["all examples" if row["group"] == ALL else row["group"]], "k": row["k"],
            "delta": row["delta"], "low": row["ci_low"], "high": row["ci_high"], "controls": row["controls_mean"],
            "controls_low": row["controls_low"], "controls_high": row["controls_high"],
        }
        for row in table.iter_rows(named=True)
    ]  # fmt: skip
    sizes = sorted(set(table["k"]))
    span = alt.Scale(type="log", domain=[0.75 * sizes[0], sizes[-1] / 0.75], nice=False)
    x = alt.X("k:Q", scale=span, title="neurons changed", axis=alt.Axis(values=sizes, format="d", grid=False))
    title = f"change of the {outcome}"
    base = alt.Chart(alt.Data(values=values))
    band = {"y": alt.Y("controls_low:Q", title=title), "y2": "controls_high:Q"}
    delta = {"x": x, "y": alt.Y("delta:Q", title=title)}
    shown_values = [
        alt.Tooltip("k:Q", title="neurons changed"),
        *(
            alt.Tooltip(f"{name}:Q", title=words, format="+.3g")
            for name, words in (
                ("delta", title), ("low", "95 % from"), ("high", "to"), ("controls", "mean of the controls"),
                ("controls_low", "controls from"), ("controls_high", "to"),
            )
        ),
    ]  # fmt: skip
    layers = [base.mark_rule(style="zero").encode(y=alt.YDatum(0, title=title))]
    if len(sizes) > 1:
        layers.append(base.mark_area(style="band").encode(x=x, **band))
        layers.append(base.mark_line(style="controls").encode(x=x, y=alt.Y("controls:Q", title=title)))
        layers.append(base.mark_line(style="effect").encode(**delta))
    else:
        layers.append(base.mark_bar(style="band", width=24).encode(x=x, **band))
    layers.append(base.mark_rule(style="effect").encode(x=x, y=alt.Y("low:Q", title=title), y2="high:Q"))
    points = base.mark_point(style="effect-points", filled=True, size=40)
    layers.append(points.encode(**delta, tooltip=shown_values))
    panels = alt.Facet("group:N", title=None, sort=list(shown.values()))
    chart = alt.layer(*layers).properties(**PANEL).facet(panels, columns=3).resolve_scale(y="independent")
    with_axes: alt.TopLevelMixin = chart.resolve_axis(x="independent", y="independent")
    return with_axes


def specificity_matrix(rows: pl.DataFrame, column: str) -> alt.TopLevelMixin:
    """The change of accuracy, or else of the outcome, by whose neurons are changed and on which examples; a matrix for
    each size."""
    levels = [metric for metric in dict.fromkeys(rows["metric"]) if metric is not None]
    shown = rows.filter(pl.col("set") == "top", pl.col("group").is_in(levels))
    outcome = str(rows["outcome"][0])
    names = labels([level.removeprefix(f"{column}=") for level in levels])
    title = f"change of the {outcome.replace('_', ' ')}"
    values = [
        {
            "neurons": names[row["metric"].removeprefix(f"{column}=")], "k": row["k"],
            "examples": names[row["group"].removeprefix(f"{column}=")], "delta": row[f"delta_{outcome}"],
            "text": f"{row[f'delta_{outcome}']:+.2f}" + ("*" if row["p"] is not None and row["p"] <= LEVEL else ""),
        }
        for row in shown.iter_rows(named=True)
    ]  # fmt: skip
    largest = max((abs(value["delta"]) for value in values), default=1.0) or 1.0
    order, [name] = list(names.values()), labels([column]).values()
    base = alt.Chart(alt.Data(values=values)).encode(
        x=alt.X("examples:N", sort=order, title=f"{name} of the examples", axis=alt.Axis(labelAngle=-40, grid=False)),
        y=alt.Y("neurons:N", sort=order, title=f"neurons of {name}", axis=alt.Axis(grid=False)),
    )
    scale = alt.Scale(scheme="redblue", domain=[-largest, largest])
    shown_values = [
        alt.Tooltip("neurons:N", title=f"neurons of {name}"), alt.Tooltip("examples:N"),
        alt.Tooltip("delta:Q", title=title, format="+.3g"),
    ]  # fmt: skip
    cells = base.mark_rect().encode(color=alt.Color("delta:Q", scale=scale, title=title), tooltip=shown_values)
    dark = f"abs(datum.delta) > {0.6 * largest}"
    text = base.mark_text(fontSize=10).encode(
        text="text:N", color=alt.condition(dark, alt.value("white"), alt.value("black"))
    )
    side = CELL * max(1, len(levels))
    panels = alt.Facet("k:O", title="neurons changed")
    chart: alt.TopLevelMixin = alt.layer(cells, text).properties(width=side, height=0.6 * side).facet(panels, columns=2)
    return chart
