"""From committed shards to what one layer tells of its neurons.

The pipeline runs `reduce_layer` for each layer; then `skilljobs.reduce.significance` ranks each metric and population
over all layers, and `skilljobs.reduce.final_tables` writes what a run keeps.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from skilljobs.reduce.null_maxima import by_population, null_maxima_within
from skilljobs.reduce.shard_sums import Halves, read_counts, read_moments, read_totals
from skilljobs.reduce.unranked import Part, null_name, write_layer
from skilljobs.stats.correlate import STRENGTHS, strengths
from skilljobs.stats.layout import NULL, Layout
from skilljobs.stats.neurons import LayerNeurons
from skilljobs.stats.predictivity import COLUMNS as PREDICTIVITY_COLUMNS
from skilljobs.stats.predictivity import above_layout, accuracy, predictivity_columns
from skilljobs.stats.totals import LayerTotals, Moments
from skilljobs.store.files import Folder
from skilljobs.store.run import correlations_name
from skilljobs.store.schema import CORRELATIONS, CORRELATIONS_PREDICTIVITY, NULL_MAXIMA, parquet_bytes

Array = NDArray[np.float64]
Predictor = Callable[[str, str], dict[str, Array]]
SUMS_BYTES = 60_000_000
"""Of a layer's sums in a shard, how much is added up at a time: many times as much is held."""


@dataclass(frozen=True)
class ReduceJob:
    """What a reducer must know about a run."""

    uri: str
    layout: Layout
    halves: Halves
    tokens: int | None
    """Prompt positions kept for each neuron; None if they are aggregated."""
    neurons: tuple[LayerNeurons, ...]
    """Those of each layer that is read."""
    yes_no: tuple[str, ...] = ()
    """The metrics whose predictivity was counted."""
    counted_tokens: int = 1
    """Prompt positions for which it was counted."""
    keep_null: bool = False
    """Whether the correlations of null metrics are kept, which are their maxima otherwise."""

    def keeps(self, metric: str) -> bool:
        """Whether the run's tables have the correlations with `metric`."""
        return self.keep_null or not metric.startswith(NULL)

    @property
    def schema(self) -> pa.Schema:
        """The columns of the correlations."""
        return CORRELATIONS_PREDICTIVITY if self.yes_no else CORRELATIONS

    @property
    def strengths(self) -> tuple[str, ...]:
        """The columns of the correlations that follow from the sums of a layer."""
        return (*STRENGTHS, *(PREDICTIVITY_COLUMNS if self.yes_no else ()))

    @property
    def layers(self) -> int:
        """The number of layers that are read."""
        return len(self.neurons)

    @property
    def correlations_names(self) -> list[str]:
        """The file of each layer's correlations."""
        return [correlations_name(layer.layer) for layer in self.neurons]


def pairs(layout: Layout) -> list[tuple[str, str]]:
    """Every reported (metric, population), in the order of the row groups."""
    return [
        (layout.metrics[place].name, population)
        for population in layout.reported_populations
        for place in layout.metrics_of(population)
    ]


def reduce_layer(job: ReduceJob, layer: int) -> None:
    """Write what the layer at this place among those that are read tells by itself: all but p and q."""
    folder, maxima = Folder(job.uri), list[pa.Table]()
    write_layer(folder, layer, job.strengths, _parts(job, folder, layer, maxima))
    folder.write(null_name(layer), parquet_bytes([by_population(maxima)], NULL_MAXIMA))


def _parts(job: ReduceJob, folder: Folder, layer: int, maxima: list[pa.Table]) -> Iterator[tuple[int, Part]]:
    """The parts of a layer, each with its place; `maxima` gets tables of its null metrics."""
    moments = [read_moments(folder, shards) for shards in job.halves]
    predict = predictor(job, folder, layer, moments)
    for metrics in _metrics_at_a_time(job, layer):
        whole, halves = read_totals(folder, job.halves, layer, job.layout, metrics, moments)
        yield from _parts_of(job, whole, halves, metrics, predict)
        maxima.append(null_maxima_within(whole, halves, metrics))


def _parts_of(
    job: ReduceJob,
    whole: LayerTotals,
    halves: Sequence[LayerTotals | None],
    metrics: Sequence[str],
    predict: Predictor,
) -> Iterator[tuple[int, Part]]:
    places = {pair: place for place, pair in enumerate(pairs(job.layout))}
    for population in job.layout.reported_populations:
        names = [metric for metric in metrics if (metric, population) in places]
        each = [half.centred_each(names, population) if half else repeat(None) for half in halves]
        for metric, centred, first, second in zip(names, whole.centred_each(names, population), *each, strict=False):
            columns = strengths(centred, [first, second]) | predict(metric, population)
            yield places[metric, population], Part(columns, centred.n, centred.degrees_of_freedom)


def _metrics_at_a_time(job: ReduceJob, layer: int) -> Iterator[list[str]]:
    """The metrics, in groups whose sums take about `SUMS_BYTES` in a shard."""
    rows = job.neurons[layer].count * (job.tokens or 1)
    columns = SUMS_BYTES // (8 * max(1, rows) * len(job.layout.populations)) - 2
    nullable = {job.layout.metrics[place].name for place in job.layout.nullable}
    group, taken = list[str](), 0
    for metric in job.layout.metrics:
        needed = 3 if metric.name in nullable else 1
        if group and taken + needed > columns:
            yield group
            group, taken = [], 0
        group.append(metric.name)
        taken += needed
    yield group


def predictor(job: ReduceJob, folder: Folder, layer: int, moments: Sequence[Moments | None]) -> Predictor:
    """What predictivity adds to the columns of a metric and population; nothing if it was not counted."""
    if not job.yes_no:
        return lambda metric, population: {}
    layout = above_layout(job.layout, job.yes_no)
    counts = [read_counts(folder, shards, layer, layout) for shards in job.halves]
    rows = job.neurons[layer].count * (job.tokens or 1)

    def predict(metric: str, population: str) -> dict[str, Array]:
        if metric not in job.yes_no:
            return {name: np.full(rows, np.nan) for name in PREDICTIVITY_COLUMNS}
        halves = [
            None if c is None or m is None else accuracy(layout, c, m, metric, population)
            for c, m in zip(counts, moments, strict=True)
        ]
        return predictivity_columns(halves, job.counted_tokens, job.tokens is not None)

    return predict
