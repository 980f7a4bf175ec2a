"""How all figures of a run look, and how they are kept."""

import io
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from skilljobs.store.files import Folder
from skilljobs.store.run import FIGURES

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
"""Told apart by the colour-blind (Okabe & Ito 2008)."""
TOP, NULL = "#C00000", "#222222"
"""Of the top-10 threshold, red as in the paper's figure 4, and of the null's."""
BELOW_LEGEND = 0.8
LINES = ("-", "--", "-.", ":")
STYLE: dict[Any, Any] = {
    "font.size": 8, "axes.titlesize": 8, "axes.labelsize": 8, "xtick.labelsize": 7, "ytick.labelsize": 7,
    "legend.fontsize": 6.5, "legend.frameon": False, "axes.spines.top": False, "axes.spines.right": False,
    "svg.hashsalt": "skilljobs", "svg.fonttype": "none", "font.family": "sans-serif", "figure.dpi": 110,
}  # fmt: skip
PANEL = (3.0, 2.3)
MARGINS = {"x": (0.58, 0.12), "y": (0.46, 0.42)}
"""Inches of a panel, and of what is left for labels on either side of it."""


def styled() -> AbstractContextManager[None]:
    """Inside, figures look as all do."""
    return mpl.rc_context(STYLE)


def panels(count: int, columns: int = 4) -> tuple[Figure, list[Axes]]:
    """A figure of `count` panels in rows of `columns`, laid out in inches: to fit margins takes as long as to draw."""
    columns = min(columns, count)
    rows = -(-count // columns)
    width, height = PANEL[0] * columns, PANEL[1] * rows
    inner = [size - sum(MARGINS[side]) for side, size in zip(("x", "y"), PANEL, strict=True)]
    figure = Figure(figsize=(width, height))
    axes = figure.subplots(
        rows,
        columns,
        squeeze=False,
        gridspec_kw={
            "left": MARGINS["x"][0] / width, "right": 1 - MARGINS["x"][1] / width,
            "bottom": MARGINS["y"][0] / height, "top": 1 - MARGINS["y"][1] / height,
            "wspace": sum(MARGINS["x"]) / inner[0], "hspace": sum(MARGINS["y"]) / inner[1],
        },
    ).ravel().tolist()  # fmt: skip
    for unused in axes[count:]:
        unused.set_axis_off()
    return figure, axes[:count]


def fitted_panel(width: float, height: float) -> tuple[Figure, Axes]:
    """One panel of so many inches, whose margins are fitted to its labels."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def shortened(text: str, width: int = 34) -> str:
    """A name that fits a panel's title or a legend. A dollar sign is one, not the beginning of mathematics."""
    cut = text if len(text) <= width else f"{text[: width - 12]}...{text[-9:]}"
    return cut.replace("$", r"\$")


def draw_thresholds(axes: Axes, marks: Sequence[tuple[float, str, str, str]]) -> None:
    """Vertical lines at plus and minus each |r|: value, colour, line style, label."""
    for value, colour, line, label in marks:
        axes.axvline(value, ymax=BELOW_LEGEND, color=colour, linestyle=line, linewidth=1.2, label=label)
        axes.axvline(-value, ymax=BELOW_LEGEND, color=colour, linestyle=line, linewidth=1.2)


def keep(figure: Figure, folder: Folder, name: str) -> str:
    """Write the figure as PNG and SVG; returns its name."""
    for kind in ("png", "svg"):
        data = io.BytesIO()
        figure.savefig(data, format=kind, metadata={"Date": None} if kind == "svg" else None)
        figure.set_layout_engine("none")  # laid out once for both
        folder.write(f"{FIGURES}/{name}.{kind}", data.getvalue())
    return name


def legend_above(axes: Axes, lines: int) -> None:
    """A legend in the upper corner, with room made for it above what is drawn."""
    low, high = axes.get_ylim()
    share = 0.1 * lines
    if axes.get_yscale() == "log":
        axes.set_ylim(low, low * (high / low) ** (1 / (1 - share)))
    else:
        axes.set_ylim(low, low + (high - low) / (1 - share))
    axes.legend(loc="upper left", handlelength=1.6, borderaxespad=0.1)
