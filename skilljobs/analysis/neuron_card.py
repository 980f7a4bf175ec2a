"""Everything that a run knows about one neuron."""

from collections.abc import Collection, Sequence
from dataclasses import asdict, astuple, dataclass
from typing import Any

import polars as pl

from skilljobs.analysis.distributions import Group, Traces, is_neuron, neuron_text
from skilljobs.analysis.ranking import check_reduced
from skilljobs.errors import InputError
from skilljobs.stats.layout import ALL, NULL
from skilljobs.stats.neurons import LayerNeurons, NeuronName
from skilljobs.store.reader import RunReader
from skilljobs.store.run import ACTIVATIONS_NAME, VOCABULARY_NAME

TEXTS = 3
"""How many of the texts with the highest activations a card has, and how many of those with the lowest."""


@dataclass(frozen=True)
class TextActivation:
    """A text, its right answer, and the neuron's activation after the text."""

    activation: float
    text: str
    answer: str


@dataclass(frozen=True)
class NeuronCard:
    """A neuron's correlations, activations by group, extreme texts, and promoted and suppressed tokens.

    `groups`, `highest` and `lowest` are empty if the neuron was not traced. `promoted` and `suppressed` are empty if
    the run has no tokens for the neuron. With `--tokens each`, correlations and activations are those of the prompt
    token `token`, which is None otherwise.
    """

    name: NeuronName
    token: int | None
    correlations: pl.DataFrame
    """One row of `correlations` for each metric over the population `all`, strongest first."""
    groups: dict[str, list[Group]]
    """Activations by each grouping column, and by the metric with which the neuron correlates most strongly."""
    highest: list[TextActivation]
    lowest: list[TextActivation]
    promoted: list[tuple[str, float]]
    """Tokens whose logits the neuron raises most, with its effect on the logit; `suppressed` has those it lowers."""
    suppressed: list[tuple[str, float]]

    @property
    def title(self) -> str:
        """The neuron's name in words."""
        return neuron_text({**asdict(self.name), "token": self.token})


class Cards:
    """The cards of some of a run's neurons.

    `neurons` are those of every card that will be asked for, so that their data are read once.

    Raises:
        InputError: the model has no such neuron, or the run has no correlations yet.
    """

    def __init__(self, run: RunReader, neurons: Collection[NeuronName]) -> None:
        check_reduced(run)
        for name in neurons:
            _check_is_read(run.record.neurons, name)
        schema = {"layer": pl.Int16, "expert": pl.Int16, "neuron": pl.Int32}
        wanted = pl.LazyFrame([astuple(name) for name in neurons], schema=schema, orient="row")
        correlations = run.correlations().filter(pl.col("population") == ALL, ~pl.col("metric").str.starts_with(NULL))
        self._correlations = (
            correlations.join(wanted, on=list(schema), how="semi", nulls_equal=True)
            .sort(pl.col("r").abs(), descending=True, nulls_last=True, maintain_order=True)
            .collect()
        )
        self.run = run
        first_prompt = run.prompts()[0]
        self._traces = Traces(run) if first_prompt.folder.exists(ACTIVATIONS_NAME) else None
        self._vocabulary = first_prompt.vocabulary().collect() if first_prompt.folder.exists(VOCABULARY_NAME) else None

    def card(self, name: NeuronName, token: int | None = None) -> NeuronCard:
        """Return the card of one of `neurons`.

        With `--tokens each` it is the card of that prompt token, or of the neuron's strongest token if `token` is None.
        """
        correlations = self._correlations.filter(is_neuron(asdict(name)))
        if correlations["token"].null_count() < len(correlations):
            token = correlations["token"][0] if token is None else token
            correlations = correlations.filter(pl.col("token") == token)
        key = {**asdict(name), "token": token}
        groups, highest, lowest = self._traced(key, correlations["metric"][0])
        promoted, suppressed = self._tokens(name)
        return NeuronCard(name, token, correlations, groups, highest, lowest, promoted, suppressed)

    def _traced(
        self, neuron: dict[str, Any], metric: str
    ) -> tuple[dict[str, list[Group]], list[TextActivation], list[TextActivation]]:
        """Return the groups and the texts with the highest and lowest activations, all empty if it was not traced."""
        activations = None if self._traces is None else self._traces.activations(neuron)
        if self._traces is None or activations is None:
            return {}, [], []
        groups = {column: self._traces.by_column(column, activations) for column in self.run.record.groups}
        groups[metric] = self._traces.by_metric(metric, activations)
        order = activations.argsort(kind="stable")
        examples = self._traces.examples

        def text_activation(index: int) -> TextActivation:
            row = examples.row(index, named=True)
            answer = row["target"] if row["choices"] is None else row["choices"][row["answer"]]
            return TextActivation(float(activations[index]), row["text"], answer)

        highest = [text_activation(int(index)) for index in order[::-1][:TEXTS]]
        lowest = [text_activation(int(index)) for index in order[:TEXTS]]
        return groups, highest, lowest

    def _tokens(self, name: NeuronName) -> tuple[list[tuple[str, float]], list[tuple[str, float]]]:
        if self._vocabulary is None:
            return [], []
        rows = self._vocabulary.filter(is_neuron(asdict(name))).select("token", "logit").rows()
        return rows[: len(rows) // 2], rows[len(rows) // 2 :]


def _check_is_read(layers: Sequence[LayerNeurons], name: NeuronName) -> None:
    """Refuse a neuron that the model does not have, or that the run did not read."""
    same_layer = [layer for layer in layers if layer.layer == name.layer]
    try:
        for layer in same_layer:
            layer.place(name.neuron, name.expert)
    except LookupError:
        kind = "" if name.expert is None else f" in expert {name.expert}"
        raise InputError(
            f"there is no neuron {name}: layer {name.layer} has {same_layer[0]}, and no neuron {name.neuron}{kind};"
            " all are counted from 0"
        ) from None
    if not same_layer:
        first, last = layers[0].layer, layers[-1].layer
        raise InputError(f"there is no neuron {name}: the run read layers {first} to {last}, counted from 0")
