"""The picture of RESULTS.md, from figures of `collect`: `python -m tests.benchmarks.plot OUT.svg TITLE=FILE ...`."""

import json
from pathlib import Path

import click

COLOURS = {"skilljobs": "#0072B2"}
OTHERS = "#999999"
FLOOR = "#D55E00"


@click.command()
@click.argument("out", type=click.Path())
@click.argument("panels", nargs=-1, required=True, metavar="TITLE=FILE...")
def main(out: str, panels: tuple[str, ...]) -> None:
    """Draw examples a second of each way, a panel for each model."""
    import matplotlib as mpl
    from matplotlib import pyplot as plt

    mpl.rcParams |= {"svg.hashsalt": "skilljobs", "font.size": 9}
    figure, axes = plt.subplots(1, len(panels), figsize=(4.6 * len(panels), 2.4), layout="constrained", squeeze=False)
    for axis, panel in zip(axes[0], panels, strict=True):
        title, _, file = panel.partition("=")
        figures = json.loads(Path(file).read_text(encoding="utf-8"))
        rates = dict(sorted(figures["examples_per_second"].items(), key=lambda item: item[1]))
        floor = rates["skilljobs"] / figures["fraction_of_floor"]
        names = [name.replace("_", " ") for name in rates]
        bars = axis.barh(names, list(rates.values()), color=[COLOURS.get(name, OTHERS) for name in rates])
        axis.bar_label(bars, fmt="%.3g", padding=3)
        axis.axvline(floor, color=FLOOR, linestyle="--", linewidth=1.2)
        axis.annotate("bare GEMMs", (floor, -0.35), xytext=(-4, 0), textcoords="offset points", color=FLOOR, ha="right")
        axis.set_title(title)
        axis.set_xlabel("examples a second")
        axis.set_xlim(0, floor * 1.08)
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(out, metadata={"Date": None} if out.endswith(".svg") else None, dpi=150)


if __name__ == "__main__":
    main()
