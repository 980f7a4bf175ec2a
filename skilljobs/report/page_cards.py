"""The neuron cards of the page, of as many neurons as there is room for."""

from dataclasses import dataclass
from typing import Any

from skilljobs.analysis.neuron_card import Cards, NeuronCard
from skilljobs.printable import printable, printable_lines
from skilljobs.report.densities import Panel
from skilljobs.report.page_data import PageData, neuron_id, panel_json, rounded
from skilljobs.report.safe_json import safe_json
from skilljobs.stats.layout import ALL
from skilljobs.stats.neurons import NeuronName

CARDS_PER_METRIC = 5
LONGEST_TEXT = 600
"""Characters of a text that are shown, counted from its end."""
LIST_BYTES = 250
"""Bytes that a card takes in the list of cards."""
MOST_TOKENS = 12
MOST_METRICS = 12


@dataclass(frozen=True)
class PageCard:
    """A neuron's card as JSON, and what a list of cards says of it."""

    id: str
    name: NeuronName
    token: int | None
    title: str
    metric: str
    r: float | None
    json: str


def page_cards(data: PageData, room: int) -> list[PageCard]:
    """Return the cards of the strongest neurons of each metric, layer by layer.

    The strongest of every metric have room first, then the second of every metric, as long as there is room in bytes.
    """
    ranked: dict[str, dict[str, Any]] = {}
    for rank in range(CARDS_PER_METRIC):
        for metric in data.metrics:
            rows = data.strongest.get((metric, ALL), [])
            if rank < len(rows):
                ranked.setdefault(neuron_id(rows[rank]), rows[rank])
    names = {key: NeuronName(row["layer"], row["expert"], row["neuron"]) for key, row in ranked.items()}
    cards = Cards(data.run, set(names.values()))
    found = []
    for key, name in names.items():
        card = cards.card(name, ranked[key]["token"])
        text = safe_json(_card(card))
        room -= len(text.encode()) + LIST_BYTES
        if room < 0:
            break
        metric, r = card.correlations.select("metric", "r").row(0)
        found.append(PageCard(key, name, card.token, card.title, metric, r, text))
    return sorted(found, key=lambda card: (*card.name.order, card.token or 0))


def _card(card: NeuronCard) -> dict[str, Any]:
    rows = [row for row in card.correlations.iter_rows(named=True) if row["r"] is not None][:MOST_METRICS]
    return {
        "title": card.title,
        "correlations": [
            [
                printable(row["metric"]), rounded(row["r"], 4), rounded(row["ci_low"], 3), rounded(row["ci_high"], 3),
                rounded(row["q"], 2), rounded(row["r_half0"], 3), rounded(row["r_half1"], 3),
            ]
            for row in rows
        ],
        "groups": [panel_json(Panel(f"by {printable(name)}", "", groups)) for name, groups in card.groups.items()],
        "promoted": [[printable(token), rounded(logit, 3)] for token, logit in card.promoted[:MOST_TOKENS]],
        "suppressed": [[printable(token), rounded(logit, 3)] for token, logit in card.suppressed[:MOST_TOKENS]],
        "highest": [[rounded(of.activation, 3), cut(of.text), cut(of.answer)] for of in card.highest],
        "lowest": [[rounded(of.activation, 3), cut(of.text), cut(of.answer)] for of in card.lowest],
    }  # fmt: skip


def cut(text: str) -> str:
    """The end of a text, as it may be shown."""
    return printable_lines(text if len(text) <= LONGEST_TEXT else f"... {text[-LONGEST_TEXT:]}")
