"""Which neurons an ablation silences: ranked on half 0 or listed, and random ones to compare them with."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from skilljobs.analysis.ranking import check_pair, check_reduced
from skilljobs.errors import InputError
from skilljobs.plan.ablation_spec import AblationSpec
from skilljobs.stats.controls import Traits, matched_controls, most_matched, shared_part
from skilljobs.stats.layout import ALL
from skilljobs.stats.neurons import NO_EXPERT, LayerNeurons, NeuronName
from skilljobs.store.ablations import NeuronSet
from skilljobs.store.reader import RunReader
from skilljobs.store.schema import NEURON_KEY

_NAME = ("layer", "expert", "neuron")


@dataclass(frozen=True)
class AblationSets:
    """All sets of an ablation, and by metric and size (`METRIC k=10`) the part that two controls share."""

    sets: list[NeuronSet]
    shared: dict[str, float]


def size_key(metric: str | None, k: int) -> str:
    """The key of `AblationSets.shared`."""
    return f"{metric or 'listed'} k={k}"


def ranked_metrics(run: RunReader, spec: AblationSpec) -> list[str]:
    """The metrics whose neurons are silenced, each by itself; none where neurons are listed.

    Raises:
        InputError: the run has no such metric, population or column, or lacks a neuron that is listed.
    """
    check_reduced(run)
    if spec.metric is not None:
        check_pair(run, spec.metric, spec.population)
        return [spec.metric]
    if spec.specificity is None:
        refuse_unread(spec.neurons, run.record.neurons)
        return []
    by_column = run.layout().metrics_by_column
    if spec.specificity not in by_column:
        known = ", ".join(by_column) or "none"
        raise InputError(f"the run has no 0/1 metrics of the values of {spec.specificity!r}; it has those of {known}")
    for metric in by_column[spec.specificity]:
        check_pair(run, metric.name, spec.population)
    return [metric.name for metric in by_column[spec.specificity]]


def choose_sets(run: RunReader, spec: AblationSpec, norms: Sequence[NDArray[np.float64]]) -> AblationSets:
    """The sets of an ablation: of nothing, the strongest of each metric or those listed, and their controls.

    `norms` has the output norm of every neuron that the run read, an array for each layer.

    Raises:
        InputError: as `ranked_metrics`; or there are fewer neurons than asked for, or too few to compare them with.
    """
    metrics = ranked_metrics(run, spec)
    neurons = ReadNeurons(run, norms)
    sets = [NeuronSet(None, spec.population, "none", 0, None, ())]
    shared: dict[str, float] = {}
    for metric, chosen in _chosen(run, spec, metrics, neurons):
        k = len(chosen)
        layer = most_matched(chosen, neurons.traits)
        if layer is not None:
            raise InputError(
                f"{k} neurons for {metric or 'the list'} are more than half of those that were read in layer {layer}:"
                " too few are left there to compare them with"
            )
        controls = matched_controls(chosen, neurons.traits, spec.draws, spec.seed)
        shared[size_key(metric, k)] = shared_part(controls)
        kind = "listed" if metric is None else "top"
        sets.append(NeuronSet(metric, spec.population, kind, k, None, neurons.names(chosen)))
        sets += [
            NeuronSet(metric, spec.population, "random", k, draw, neurons.names(control))
            for draw, control in enumerate(controls)
        ]
    return AblationSets(sets, shared)


def _chosen(
    run: RunReader, spec: AblationSpec, metrics: Sequence[str], neurons: "ReadNeurons"
) -> Iterator[tuple[str | None, list[int]]]:
    """Each metric with the neurons to silence, for each size."""
    if not metrics:
        yield None, [neurons.place(name) for name in spec.neurons]
    for metric in metrics:
        ranked = neurons.ranked(run, metric, spec.population)
        for k in spec.sizes:
            if k > len(ranked):
                raise InputError(f"-k {k}: the run has {len(ranked)} neurons with an r with {metric!r} on half 0")
            yield metric, ranked[:k]


class ReadNeurons:
    """All neurons that a run read, in one order, with what they are matched by."""

    def __init__(self, run: RunReader, norms: Sequence[NDArray[np.float64]]) -> None:
        layers = run.record.neurons
        self._layers = layers
        self._starts = np.cumsum([0, *(layer.count for layer in layers)])
        self.layer = np.concatenate([np.full(layer.count, layer.layer) for layer in layers])
        self._expert = np.concatenate([layer.expert_numbers for layer in layers])
        self._neuron = np.concatenate([layer.neuron_numbers for layer in layers])
        self._frame = pl.DataFrame(
            {"layer": self.layer, "expert": self._expert, "neuron": self._neuron, "place": np.arange(len(self.layer))}
        )
        self.traits = Traits.of(self.layer, self._spread(run), np.concatenate(list(norms)))

    def place(self, name: NeuronName) -> int:
        """The place of a neuron in the order of all."""
        number = next(number for number, layer in enumerate(self._layers) if layer.layer == name.layer)
        return int(self._starts[number]) + self._layers[number].place(name.neuron, name.expert)

    def names(self, places: Sequence[int] | NDArray[np.int64]) -> tuple[NeuronName, ...]:
        """Their names, in order."""
        names = [
            NeuronName(
                int(self.layer[place]),
                None if self._expert[place] == NO_EXPERT else int(self._expert[place]),
                int(self._neuron[place]),
            )
            for place in places
        ]
        return tuple(sorted(names, key=lambda name: name.order))

    def ranked(self, run: RunReader, metric: str, population: str) -> list[int]:
        """The neurons that have an r on half 0, largest |r| first; of several prompt positions the best one counts."""
        rows = run.correlations().filter(pl.col("metric") == metric, pl.col("population") == population)
        best = (
            rows.filter(pl.col("r_half0").is_not_null())
            .group_by(*_NAME)
            .agg(pl.col("r_half0").abs().max())
            .sort(["r_half0", *(name for name in NEURON_KEY if name in _NAME)], descending=[True, False, False, False])
            .collect()
        )
        return self._places(best)["place"].to_list()

    def _spread(self, run: RunReader) -> NDArray[np.float64]:
        """The standard deviation of each neuron's activation; over several prompt positions, of a typical one."""
        metric = next(metric.name for metric in run.layout().metrics if not metric.nullable)
        rows = run.correlations().filter(pl.col("metric") == metric, pl.col("population") == ALL)
        found = self._places(
            rows.group_by(*_NAME).agg((pl.col("activation_std") ** 2).mean().sqrt().alias("spread")).collect()
        )
        spread = np.full(len(self.layer), np.nan)
        spread[found["place"].to_numpy()] = found["spread"].cast(pl.Float64).to_numpy()
        return spread

    def _places(self, rows: pl.DataFrame) -> pl.DataFrame:
        keyed = rows.with_columns(
            pl.col("layer").cast(pl.Int64), pl.col("expert").fill_null(NO_EXPERT).cast(pl.Int16), pl.col("neuron")
        )
        frame = self._frame.with_columns(pl.col("layer").cast(pl.Int64))
        return keyed.join(frame, on=list(_NAME), how="left", maintain_order="left")


def refuse_unread(neurons: Sequence[NeuronName], layers: Sequence[LayerNeurons]) -> None:
    """Refuse neurons that a run has not read.

    Raises:
        InputError: names the first of them.
    """
    by_number = {layer.layer: layer for layer in layers}
    for name in neurons:
        try:
            by_number[name.layer].place(name.neuron, name.expert)
        except LookupError:
            raise InputError(f"--neuron {name}: the run has read no such neuron") from None
