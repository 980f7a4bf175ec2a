"""Densities as a few hundred bytes of inline SVG, since a figure for every neuron card would be too large."""

from collections.abc import Sequence

from markupsafe import Markup

from skilljobs.analysis.distributions import Group, density, lines
from skilljobs.report.drawing import LINES, PALETTE

WIDTH, HEIGHT, LEGEND = 300, 120, 13
DASHES = dict(zip(LINES, ("", "5 3", "6 2 1 2", "1 3"), strict=True))
MOST_GROUPS = 6


def density_sketch(groups: Sequence[Group]) -> Markup:
    """Return an SVG of the density of each group, with the ends of the axis and a legend with n.

    It is empty if no group has examples.
    """
    groups = [group for group in groups if len(group.activations)][:MOST_GROUPS]
    if not groups:
        return Markup()
    grid, curves = density(groups)
    highest = max((float(curve.max()) for curve in curves if curve is not None), default=1.0)
    low, span = float(grid[0]), float(grid[-1] - grid[0])
    height = HEIGHT + LEGEND * len(groups)
    parts = []
    for index, (group, curve) in enumerate(zip(groups, curves, strict=True)):
        style = Markup('fill="none" stroke="{}" stroke-width="1.4" stroke-dasharray="{}"').format(
            PALETTE[index], DASHES[LINES[index % len(LINES)]]
        )
        if curve is None:
            for activation in lines(group):
                x = WIDTH * (activation - low) / span
                parts.append(Markup('<path d="M{:.1f} 0V{}" {}/>').format(x, HEIGHT - 16, style))
        else:
            points = [
                f"{WIDTH * step / (len(grid) - 1):.1f},{(HEIGHT - 18) * (1 - value / highest) + 2:.1f}"
                for step, value in enumerate(curve)
            ][::2]
            parts.append(Markup('<polyline points="{}" {}/>').format(" ".join(points), style))
        y = HEIGHT + LEGEND * index + 9
        parts.append(Markup('<path d="M4 {}H26" {}/>').format(y - 3, style))
        label = Markup("{} (n={})").format(group.label, len(group.activations))
        parts.append(Markup('<text x="32" y="{}">{}</text>').format(y, label))
    parts.append(Markup('<path d="M0 {0}H{1}" stroke="#333"/>').format(HEIGHT - 15, WIDTH))
    parts.append(Markup('<text x="0" y="{}">{:.3g}</text>').format(HEIGHT - 3, low))
    parts.append(Markup('<text x="{}" y="{}" text-anchor="middle">activation</text>').format(WIDTH / 2, HEIGHT - 3))
    parts.append(Markup('<text x="{}" y="{}" text-anchor="end">{:.3g}</text>').format(WIDTH, HEIGHT - 3, low + span))
    return Markup('<svg viewBox="0 0 {} {}" width="{}" height="{}" role="img">{}</svg>').format(
        WIDTH, height, WIDTH, height, Markup().join(parts)
    )
