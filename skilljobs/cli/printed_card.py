"""Printing a neuron's card to a terminal."""

from collections.abc import Sequence

import numpy as np

from skilljobs.analysis.distributions import Group, density
from skilljobs.analysis.neuron_card import NeuronCard, TextActivation
from skilljobs.cli.tables import metric_rows, table_console
from skilljobs.printable import printable

BLOCKS = " ▁▂▃▄▅▆▇█"
WIDTH = 48
LONGEST_TEXT = 240
TOKENS_SHOWN = 10


def print_card(card: NeuronCard) -> None:
    console = table_console()
    console.print(metric_rows(card.correlations, f"{card.title}: r with each metric, over all examples"))
    if not card.groups:
        console.print("this neuron's activations were not traced: only those of the top 10 neurons of each metric are")
    for name, groups in card.groups.items():
        console.print(printable(f"activation by {name}"))
        for line in density_lines(groups):
            console.print(f"  {line}")
    for label, texts in (("highest", card.highest), ("lowest", card.lowest)):
        for text in texts:
            console.print(f"{label} {text.activation:.3g}: {_one_line(text)}")
    for label, tokens in (("promotes", card.promoted), ("suppresses", card.suppressed)):
        if tokens:
            console.print(f"{label} " + " ".join(repr(token) for token, _ in tokens[:TOKENS_SHOWN]))


def density_lines(groups: Sequence[Group]) -> list[str]:
    """Return a line for each group, with its density as a row of blocks, its mean and its n, and a line for the axis.

    All groups share one axis. The list is empty if no group has examples.
    """
    groups = [group for group in groups if len(group.activations)]
    if not groups:
        return []
    grid, curves = density(groups)
    columns = np.linspace(0, len(grid) - 1, WIDTH).astype(int)
    highest = max((float(curve.max()) for curve in curves if curve is not None), default=1.0)
    labels = [printable(group.label) for group in groups]
    longest = max(map(len, labels))
    lines = []
    for label, group, curve in zip(labels, groups, curves, strict=True):
        heights = np.zeros(WIDTH, int) if curve is None else np.ceil(8 * curve[columns] / highest - 1e-3).astype(int)
        bar = "".join(BLOCKS[height] for height in heights)
        lines.append(f"{label:<{longest}}  {bar}  mean {group.activations.mean():.3g}, n {len(group.activations)}")
    return [*lines, f"{'':<{longest}}  {f'{grid[0]:.3g}':<{WIDTH - 8}}{f'{grid[-1]:.3g}':>8}"]


def _one_line(example: TextActivation) -> str:
    text = printable((example.text + example.answer).replace("\n", " / "))
    return text if len(text) <= LONGEST_TEXT else f"... {text[-LONGEST_TEXT:]}"
