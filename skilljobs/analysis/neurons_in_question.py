"""The neurons whose properties are looked for, and where in the prompt each is read."""

from dataclasses import dataclass

import polars as pl

from skilljobs.analysis.ablation_sets import refuse_unread
from skilljobs.analysis.ranking import check_pair, check_population, check_reduced
from skilljobs.errors import InputError
from skilljobs.plan.shortcuts_spec import ShortcutsSpec
from skilljobs.stats.neurons import NeuronName
from skilljobs.store.reader import RunReader
from skilljobs.store.schema import NEURON_KEY
from skilljobs.store.traces import TracedNeuron


@dataclass(frozen=True)
class QuestionedNeuron:
    """A neuron. `token` is the prompt position that it was ranked by; None if activations are averaged over all.

    `traced` is what must be read of it: in a run of each token, a listed neuron is averaged over the positions.
    """

    name: NeuronName
    token: int | None
    traced: tuple[TracedNeuron, ...]


def neurons_in_question(run: RunReader, spec: ShortcutsSpec, positions: int) -> list[QuestionedNeuron]:
    """The neurons of largest |r| with the metric on half 0, or those that are listed; `positions` of the prompt.

    Raises:
        InputError: the run has no such metric, population or neuron, or no neuron has an r.
    """
    check_reduced(run)
    each = run.record.job_spec.tokens == "each"
    if spec.metric is None:
        refuse_unread(spec.neurons, run.record.neurons)
        check_population(run, spec.population)
        tokens = range(max(1, positions)) if each else [None]
        return [
            QuestionedNeuron(name, None, tuple(TracedNeuron(name, token) for token in tokens)) for name in spec.neurons
        ]
    check_pair(run, spec.metric, spec.population)
    names = ["layer", "expert", "neuron"]
    ranked = (
        run.correlations()
        .filter(pl.col("metric") == spec.metric, pl.col("population") == spec.population)
        .filter(pl.col("r_half0").is_not_null())
        .sort([pl.col("r_half0").abs(), *map(pl.col, NEURON_KEY)], descending=[True] + [False] * len(NEURON_KEY))
        .unique(names, keep="first", maintain_order=True)
        .select(*names, "token")
        .head(spec.k)
        .collect()
    )
    if ranked.is_empty():
        raise InputError(f"no neuron has an r with {spec.metric!r} over {spec.population!r} on half 0")
    found = [(NeuronName(layer, expert, neuron), token) for layer, expert, neuron, token in ranked.iter_rows()]
    return [QuestionedNeuron(name, token, (TracedNeuron(name, token),)) for name, token in found]
