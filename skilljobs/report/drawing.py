"""The common style of a run's figures, and helpers that lay them out and save them."""

import io
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from skilljobs.printable import printable, well_formed
from skilljobs.store.files import Folder
from skilljobs.store.run import FIGURES

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
"""Colours that colour-blind readers can tell apart (Okabe & Ito 2008)."""
TOP, NULL = "#C00000", "#222222"
"""Colours of the top-10 threshold, red as in the paper's figure 4, and of the null threshold."""
BELOW_LEGEND = 0.8
"""Height of the threshold lines as a fraction of the axes, which leaves room for the legend."""
LINES = ("-", "--", "-.", ":")
STYLE: dict[Any, Any] = {
    "font.size": 8, "axes.titlesize": 8, "axes.labelsize": 8, "xtick.labelsize": 7, "ytick.labelsize": 7,
    "legend.fontsize": 6.5, "legend.frameon": False, "axes.spines.top": False, "axes.spines.right": False,
    "svg.hashsalt": "skilljobs", "svg.fonttype": "none", "font.family": "sans-serif", "figure.dpi": 110,
}  # fmt: skip
PANEL = (3.0, 2.3)
MARGINS = {"x": (0.58, 0.12), "y": (0.46, 0.42)}
"""Width and height of a panel, and its margins for labels (left and right, bottom and top), in inches."""


def figure_style() -> AbstractContextManager[None]:
    """Return a context in which figures are drawn in the common style."""
    return mpl.rc_context(STYLE)


def panels(count: int, columns: int = 4) -> tuple[Figure, list[Axes]]:
    """Return a figure and its `count` panels in rows of `columns`.

    The margins are fixed in inches, because fitting them to the labels takes as long as drawing.
    """
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
    """Return a figure of one panel, whose size is given in inches and whose margins are fitted to its labels."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def shortened(text: str, width: int = 34) -> str:
    """Return `text` cut to fit a title or a legend, with control characters escaped, and with dollar signs escaped so
    that they do not begin mathematics."""
    text = printable(text)
    cut = text if len(text) <= width else f"{text[: width - 12]}...{text[-9:]}"
    return cut.replace("$", r"\$")


def draw_thresholds(axes: Axes, marks: Sequence[tuple[float, str, str, str]]) -> None:
    """Draw vertical lines at plus and minus each |r|. Each mark is (value, colour, line style, label)."""
    for value, colour, line, label in marks:
        axes.axvline(value, ymax=BELOW_LEGEND, color=colour, linestyle=line, linewidth=1.2, label=label)
        axes.axvline(-value, ymax=BELOW_LEGEND, color=colour, linestyle=line, linewidth=1.2)


def save(figure: Figure, folder: Folder, name: str) -> str:
    """Write the figure to the run's folder as PNG and SVG, and return its name."""
    for kind in ("png", "svg"):
        data = io.BytesIO()
        figure.savefig(data, format=kind, metadata={"Date": None} if kind == "svg" else None)
        figure.set_layout_engine("none")  # the layout is computed once for both formats
        drawn = data.getvalue()
        folder.write(f"{FIGURES}/{name}.{kind}", well_formed(drawn.decode()).encode() if kind == "svg" else drawn)
    return name


def legend_above(axes: Axes, lines: int) -> None:
    """Add a legend in the upper left corner and extend the y axis so that it is above what is drawn."""
    low, high = axes.get_ylim()
    share = 0.1 * lines
    if axes.get_yscale() == "log":
        axes.set_ylim(low, low * (high / low) ** (1 / (1 - share)))
    else:
        axes.set_ylim(low, low + (high - low) / (1 - share))
    axes.legend(loc="upper left", handlelength=1.6, borderaxespad=0.1)
