"""The look of all charts, light and dark, as configurations of Vega-Lite.

A mark names a style (`top`, `null`, ...) in place of a colour, so that the same chart can be drawn in either theme.
"""

from typing import Any

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
"""Colours that colour-blind readers can tell apart (Okabe & Ito 2008)."""
ON_DARK = ("#56B4E9", "#E69F00", "#2FC79B", "#E59AC6", "#F0E442", "#6FA8FF", "#FFFFFF", "#A8A8A8")
DASHES = ([1, 0], [5, 3], [6, 2, 1, 2], [1, 2])
"""Lines differ by these too, and not by colour alone."""


def _theme(
    ink: str, soft: str, grid: str, bars: str, top: str, controls: str, palette: tuple[str, ...]
) -> dict[str, Any]:
    text = {"labelColor": ink, "titleColor": ink, "labelFontSize": 10, "titleFontSize": 11, "titleFontWeight": "normal"}
    return {
        "font": "system-ui, sans-serif",
        "axis": text | {"labelLimit": 220, "gridColor": grid, "domainColor": soft, "tickColor": soft},
        "header": text | {"labelFontSize": 11},
        "legend": text | {"labelLimit": 260, "symbolStrokeWidth": 2, "symbolSize": 220, "symbolBaseStrokeColor": ink},
        "title": {"color": ink, "subtitleColor": soft, "fontSize": 11, "subtitleFontSize": 10, "anchor": "start"},
        "view": {"stroke": None},
        "range": {"category": list(palette)},
        "style": {
            "bars": {"color": bars},
            "top": {"color": top, "strokeDash": [5, 3], "strokeWidth": 1.4},
            "null": {"color": ink, "strokeDash": [2, 2], "strokeWidth": 1.2},
            "zero": {"color": soft, "strokeWidth": 0.7},
            "points": {"color": bars},
            "effect": {"color": top, "strokeWidth": 1.5},
            "effect-points": {"color": top},
            "controls": {"color": ink, "strokeDash": [3, 2], "strokeWidth": 1},
            "band": {"color": controls, "fillOpacity": 0.35},
            "note": {"color": soft},
        },
    }


LIGHT = _theme("#222222", "#666666", "#ececec", "#0072B2", "#C00000", "#999999", PALETTE)
DARK = _theme("#e6e6e6", "#a0a0a0", "#33383f", "#56B4E9", "#FF7B72", "#8a8a8a", ON_DARK)
