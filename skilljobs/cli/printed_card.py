"""A neuron's card for a terminal."""

from collections.abc import Sequence

import numpy as np

from skilljobs.analysis.neuron_card import NeuronCard, Shown
from skilljobs.analysis.distributions import Group, density, neuron_text
from skilljobs.cli.tables import metric_rows, table_console

BLOCKS = " ▁▂▃▄▅▆▇█"
WIDTH = 48
LONGEST_TEXT = 240
TOKENS_SHOWN = 10


def print_card(card: NeuronCard) -> None:
    console = table_console()
    console.print(metric_rows(card.correlations, f"{neuron_text(vars(card))}: r with each metric, over all examples"))
    if not card.groups:
        console.print("activations were not traced: only those of the top 10 neurons of each metric are")
    for name, groups in card.groups.items():
        console.print(f"activation by {name}")
        for line in density_lines(groups):
            console.print(f"  {line}")
    for words, texts in (("highest", card.highest), ("lowest", card.lowest)):
        for shown in texts:
            console.print(f"{words} {shown.activation:.3g}: {_one_line(shown)}")
    for words, tokens in (("promotes", card.promoted), ("suppresses", card.suppressed)):
        if tokens:
            console.print(f"{words} " + " ".join(repr(token) for token, _ in tokens[:TOKENS_SHOWN]))


def density_lines(groups: Sequence[Group]) -> list[str]:
    """The density of each group as a row of blocks, all on one axis, with n and mean."""
    groups = [group for group in groups if len(group.activations)]
    if not groups:
        return []
    grid, curves = density(groups)
    columns = np.linspace(0, len(grid) - 1, WIDTH).astype(int)
    highest = max((float(curve.max()) for curve in curves if curve is not None), default=1.0)
    longest = max(len(group.label) for group in groups)
    lines = []
    for group, curve in zip(groups, curves, strict=True):
        heights = np.zeros(WIDTH, int) if curve is None else np.ceil(8 * curve[columns] / highest - 1e-3).astype(int)
        bar = "".join(BLOCKS[height] for height in heights)
        lines.append(
            f"{group.label:<{longest}}  {bar}  mean {group.activations.mean():.3g}, n {len(group.activations)}"
        )
    return [*lines, f"{'':<{longest}}  {f'{grid[0]:.3g}':<{WIDTH - 8}}{f'{grid[-1]:.3g}':>8}"]


def _one_line(shown: Shown) -> str:
    text = (shown.text + shown.answer).replace("\n", " / ")
    return text if len(text) <= LONGEST_TEXT else f"... {text[-LONGEST_TEXT:]}"
