"""The picture of RESULTS.md, from figures of `collect`: `python -m tests.benchmarks.plot OUT.svg TITLE=FILE ...`."""

import json
from pathlib import Path

import altair as alt
import click

OURS, OTHERS, FLOOR = "#0072B2", "#999999", "#D55E00"


@click.command()
@click.argument("out", type=click.Path())
@click.argument("panels", nargs=-1, required=True, metavar="TITLE=FILE...")
def main(out: str, panels: tuple[str, ...]) -> None:
    """Draw examples a second of each way, a panel for each model."""
    charts = []
    for panel in panels:
        title, _, file = panel.partition("=")
        figures = json.loads(Path(file).read_text(encoding="utf-8"))
        charts.append(rates(figures["examples_per_second"], figures["fraction_of_floor"]).properties(title=title))
    chart = alt.hconcat(*charts).configure_view(stroke=None).configure_title(anchor="start")
    chart.save(out, scale_factor=2)


def rates(examples_per_second: dict[str, float], fraction_of_floor: float) -> alt.LayerChart:
    """Draw a bar for each way, and what the bare matrix products would allow."""
    rows = [{"way": name.replace("_", " "), "rate": rate} for name, rate in examples_per_second.items()]
    floor = examples_per_second["skilljobs"] / fraction_of_floor
    axis = alt.X("rate:Q", title="examples a second", scale=alt.Scale(domainMax=1.08 * floor))
    way = alt.Y("way:N", sort="-x", title=None)
    base = alt.Chart(alt.Data(values=rows)).encode(x=axis, y=way)
    colour = alt.condition(alt.datum.way == "skilljobs", alt.value(OURS), alt.value(OTHERS))
    bars = base.mark_bar().encode(color=colour)
    numbers = base.mark_text(align="left", dx=4).encode(text=alt.Text("rate:Q", format=".3~g"))
    bound = alt.Chart(alt.Data(values=[{"rate": floor, "label": "bare GEMMs"}])).encode(x=axis)
    line = bound.mark_rule(color=FLOOR, strokeDash=[5, 3])
    name = bound.mark_text(color=FLOOR, align="right", dx=-4, baseline="top").encode(text="label:N", y=alt.value(4))
    chart: alt.LayerChart = alt.LayerChart(layer=[bars, numbers, line, name]).properties(width=300, height=130)
    return chart


if __name__ == "__main__":
    main()
