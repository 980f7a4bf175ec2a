"""Saving Altair charts as a run's figures, and the style that they share."""

from collections.abc import Sequence
from typing import Any

import altair as alt
import vl_convert

from skilljobs.printable import printable, well_formed
from skilljobs.store.files import Folder
from skilljobs.store.run import FIGURES

LONGEST_LABEL = 24
"""Characters of a name on an axis."""
PIXELS_PER_POINT = 2.0
_STYLE: dict[str, Any] = {
    "font": "sans-serif",
    "axis": {"labelFontSize": 10, "titleFontSize": 11, "labelLimit": 220, "grid": True, "gridColor": "#eeeeee"},
    "header": {"labelFontSize": 11, "titleFontSize": 11},
    "legend": {"labelFontSize": 10, "titleFontSize": 11, "labelLimit": 220},
    "title": {"fontSize": 12, "anchor": "start"},
    "view": {"stroke": None},
}


def save_chart(chart: alt.TopLevelMixin, folder: Folder, name: str) -> str:
    """Save a chart as `figures/NAME.png` and `figures/NAME.svg`, and return its name."""
    specification = chart.to_dict() | {"config": _STYLE, "background": "white"}
    svg = vl_convert.vegalite_to_svg(specification)
    png = vl_convert.vegalite_to_png(specification, scale=PIXELS_PER_POINT)
    folder.write(f"{FIGURES}/{name}.svg", well_formed(svg).encode())
    folder.write(f"{FIGURES}/{name}.png", png)
    return name


def labels(names: Sequence[str]) -> dict[str, str]:
    """Names from data as they are drawn: without characters that steer a page, no longer than fits, no two the same."""
    found: dict[str, str] = {}
    for name in names:
        shown = printable(name)
        shown = shown if len(shown) <= LONGEST_LABEL else shown[: LONGEST_LABEL - 3] + "..."
        number = 2
        unique = shown
        while unique in found.values():
            unique, number = f"{shown} ({number})", number + 1
        found.setdefault(name, unique)
    return found
