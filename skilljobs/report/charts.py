"""What a figure is, saving one, and how names from data are drawn."""

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import altair as alt
import vl_convert
from altair.utils import schemapi

from skilljobs.printable import printable, well_formed
from skilljobs.report.themes import LIGHT
from skilljobs.store.files import Folder
from skilljobs.store.run import FIGURES

LONGEST_LABEL = 24
"""Characters of a name on an axis."""
PIXELS_PER_POINT = 2.0
PANEL = {"width": 230, "height": 150}
"""Pixels of one of several panels."""
COLUMNS = 4

Rows = Iterable[Mapping[str, Any]]


@dataclass(frozen=True)
class Figure:
    """A chart, the name of its files and what it shows."""

    name: str
    chart: alt.TopLevelMixin
    caption: str


def save_figure(figure: Figure, folder: Folder) -> None:
    """Save a figure as `figures/NAME.png` and `figures/NAME.svg`."""
    svg = vl_convert.vegalite_to_svg(printable_json(specification(figure.chart) | {"config": LIGHT}))
    png = vl_convert.svg_to_png(svg, scale=PIXELS_PER_POINT)
    folder.write(f"{FIGURES}/{figure.name}.svg", well_formed(svg).encode())
    folder.write(f"{FIGURES}/{figure.name}.png", png)


def unvalidated() -> AbstractContextManager[None]:
    """Within the block, Altair does not check each part of a chart that is made, which takes longer than the rest."""
    return schemapi.debug_mode(False)


def specification(chart: alt.TopLevelMixin) -> dict[str, Any]:
    """A chart as Vega-Lite, without a theme."""
    return chart.to_dict(validate=False) | {"config": {}, "background": "white"}


def printable_json(value: dict[str, Any]) -> str:
    """JSON in which control characters are written out: where text has one, vl-convert ends the process."""
    text = json.dumps(value, allow_nan=False)
    return json.dumps(_printable(value)) if "\\u00" in text else text


def _printable(value: Any) -> Any:
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, Mapping):
        return {name: _printable(inner) for name, inner in value.items()}
    return [_printable(inner) for inner in value] if isinstance(value, list | tuple) else value


def layered(*marks: alt.Chart) -> alt.LayerChart:
    """Draw marks over each other."""
    return alt.LayerChart(layer=list(marks))


def in_panels(charts: Sequence[alt.LayerChart], columns: int = COLUMNS) -> alt.TopLevelMixin:
    """Draw charts side by side, each with axes and a legend of its own."""
    panels = [chart.properties(**PANEL) for chart in charts]
    together: alt.TopLevelMixin = alt.concat(*panels, columns=columns).resolve_scale(
        color="independent", strokeDash="independent"
    )
    return together


def labels(names: Sequence[str], longest: int = LONGEST_LABEL) -> dict[str, str]:
    """Names from data as they are drawn: without characters that steer a page, no longer than fits, no two the same."""
    found: dict[str, str] = {}
    for name in names:
        shown = shortened(name, longest)
        number = 2
        unique = shown
        while unique in found.values():
            unique, number = f"{shown} ({number})", number + 1
        found.setdefault(name, unique)
    return found


def shortened(text: str, width: int = 34) -> str:
    """Return `text` cut to fit a title, so that both its ends are seen, with control characters escaped."""
    text = printable(text)
    return text if len(text) <= width else f"{text[: width - 12]}...{text[-9:]}"
