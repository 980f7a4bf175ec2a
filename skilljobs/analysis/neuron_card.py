"""All that a run knows of one neuron."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import polars as pl

from skilljobs.analysis.distributions import Group, Traces
from skilljobs.analysis.ranking import check_reduced
from skilljobs.errors import InputError
from skilljobs.stats.layout import ALL, NULL
from skilljobs.store.reader import RunReader
from skilljobs.store.run import ACTIVATIONS_NAME, VOCABULARY_NAME

TEXTS = 3
"""Texts where the neuron is highest, and as many where it is lowest."""


@dataclass(frozen=True)
class Shown:
    """A text and how active the neuron is behind it."""

    activation: float
    text: str
    answer: str


@dataclass(frozen=True)
class NeuronCard:
    """`groups`, `highest` and `lowest` are empty for a neuron that was not traced; so are the tokens where the run has
    none of it. With `--tokens each` all is of one token of the prompt."""

    layer: int
    neuron: int
    token: int | None
    correlations: pl.DataFrame
    """A row of `correlations` for each metric over `all`, strongest first."""
    groups: dict[str, list[Group]]
    """The activations by each grouping column, and by the metric that the neuron follows most."""
    highest: list[Shown]
    lowest: list[Shown]
    promoted: list[tuple[str, float]]
    suppressed: list[tuple[str, float]]


class Cards:
    """The cards of a run's neurons. `places`: the (layer, neuron) of all that will be asked for, read at once.

    Raises:
        InputError: the model has no such neuron, or the run no correlations yet.
    """

    def __init__(self, run: RunReader, places: Collection[tuple[int, int]]) -> None:
        check_reduced(run)
        widths = run.record["model"]["neurons_per_layer"]
        for layer, neuron in places:
            if not 0 <= layer < len(widths) or not 0 <= neuron < widths[layer]:
                raise InputError(
                    f"there is no neuron {layer}/{neuron}: the model has {len(widths)} layers of {max(widths)} neurons,"
                    " both counted from 0"
                )
        schema = {"layer": pl.Int16, "neuron": pl.Int32}
        wanted = pl.LazyFrame(list(places), schema=schema, orient="row")
        found = run.correlations().filter(pl.col("population") == ALL, ~pl.col("metric").str.starts_with(NULL))
        self._correlations = (
            found.join(wanted, on=["layer", "neuron"], how="semi")
            .sort(pl.col("r").abs(), descending=True, nulls_last=True, maintain_order=True)
            .collect()
        )
        self.run = run
        first = run.prompts()[0]
        self._traces = Traces(run) if first.folder.exists(ACTIVATIONS_NAME) else None
        self._vocabulary = first.vocabulary().collect() if first.folder.exists(VOCABULARY_NAME) else None

    def card(self, layer: int, neuron: int, token: int | None = None) -> NeuronCard:
        """The card of one of `places`; with `--tokens each` of its strongest token, unless one is named."""
        found = self._correlations.filter(layer=layer, neuron=neuron)
        if found["token"].null_count() < len(found):
            token = found["token"][0] if token is None else token
            found = found.filter(pl.col("token") == token)
        place = {"layer": layer, "neuron": neuron, "token": token}
        groups, highest, lowest = self._traced(place, found["metric"][0])
        promoted, suppressed = self._tokens(layer, neuron)
        return NeuronCard(layer, neuron, token, found, groups, highest, lowest, promoted, suppressed)

    def _traced(self, place: dict[str, Any], metric: str) -> tuple[dict[str, list[Group]], list[Shown], list[Shown]]:
        activations = None if self._traces is None else self._traces.activations(place)
        if self._traces is None or activations is None:
            return {}, [], []
        groups = {column: self._traces.by_column(column, activations) for column in self.run.record["groups"]}
        groups[metric] = self._traces.by_metric(metric, activations)
        order = activations.argsort(kind="stable")
        examples = self._traces.examples

        def shown(index: int) -> Shown:
            row = examples.row(index, named=True)
            answer = row["target"] if row["choices"] is None else row["choices"][row["answer"]]
            return Shown(float(activations[index]), row["text"], answer)

        return groups, [shown(int(i)) for i in order[::-1][:TEXTS]], [shown(int(i)) for i in order[:TEXTS]]

    def _tokens(self, layer: int, neuron: int) -> tuple[list[tuple[str, float]], list[tuple[str, float]]]:
        if self._vocabulary is None:
            return [], []
        rows = self._vocabulary.filter(layer=layer, neuron=neuron).select("token", "logit").rows()
        return rows[: len(rows) // 2], rows[len(rows) // 2 :]
