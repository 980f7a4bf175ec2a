"""From the sums of shards to the effect of every neuron: one layer at a time, then one pass over all layers for q."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet as pq

from skilljobs.stats.correlate import false_discovery_rate
from skilljobs.stats.effect_sums import EffectSums
from skilljobs.stats.neurons import LayerNeurons
from skilljobs.store.effect_files import effects_folder, read_effect_sums
from skilljobs.store.files import Folder
from skilljobs.store.follow_up_schema import EFFECTS, EFFECTS_NULL
from skilljobs.store.neuron_columns import neuron_columns
from skilljobs.store.run import EFFECTS_NAME, EFFECTS_NULL_NAME
from skilljobs.store.schema import parquet_bytes, parquet_stream, write_parquet

Array = NDArray[np.float64]


@dataclass(frozen=True)
class EffectsReduction:
    """What a reducer must know about the effects on an outcome; `prompt` is the number of one of several prompts."""

    uri: str
    outcome: str
    groups: tuple[str, ...]
    halves: tuple[tuple[int, ...], tuple[int, ...]]
    draws: int
    neurons: tuple[LayerNeurons, ...]
    prompt: int | None

    @property
    def inside(self) -> str:
        """The folder of its files in the run."""
        return effects_folder(self.outcome)

    def unranked(self, kind: str, layer: int) -> str:
        """A file of the layer at this place among those that are read, which waits for those of the others."""
        return f"{self.inside}/unranked/{kind}-{layer:03d}.parquet"


def reduce_effects(job: EffectsReduction, layer: int) -> None:
    """Write the effects of the layer at this place among those that are read, still without q, and its null maxima."""
    folder = Folder(job.uri)
    groups = len(job.groups)
    half0 = read_effect_sums(folder, job.outcome, job.halves[0], layer, groups, 0)
    half1 = read_effect_sums(folder, job.outcome, job.halves[1], layer, groups, job.draws)
    assert half0 is not None
    assert half1 is not None
    table = _effects_table(job, layer, half0, half1)
    folder.write(job.unranked("effects", layer), parquet_bytes([table], EFFECTS))
    maxima = half1.null_maxima
    rows = {
        "outcome": [job.outcome] * job.draws,
        "prompt": [job.prompt] * job.draws,
        "draw": np.arange(job.draws),
        "consistency": maxima,
    }
    folder.write(job.unranked("null", layer), parquet_bytes([pa.table(rows, schema=EFFECTS_NULL)], EFFECTS_NULL))


def rank_effects(job: EffectsReduction) -> None:
    """Write `effects.parquet`, with q over the whole model, a row group for each layer, and `effects_null.parquet`."""
    folder = Folder(job.uri)
    layers = range(len(job.neurons))
    p = []
    for layer in layers:
        with folder.open(job.unranked("effects", layer)) as file:
            column = pq.read_table(file, columns=["p"])["p"]
        p.append(column.to_numpy().reshape(len(job.groups), -1))
    q = np.stack([false_discovery_rate(np.concatenate(of_group)) for of_group in zip(*p, strict=True)])
    starts = np.cumsum([0, *(layer.count for layer in job.neurons)])
    maxima = np.zeros(job.draws)
    with parquet_stream(folder, [f"{job.inside}/{EFFECTS_NAME}"], EFFECTS) as [writer]:
        for layer in layers:
            with folder.open(job.unranked("effects", layer)) as file:
                table = pq.read_table(file)
            mine = pa.array(q[:, starts[layer] : starts[layer + 1]].ravel(), from_pandas=True)
            table = table.set_column(table.schema.get_field_index("q"), "q", mine).cast(EFFECTS)
            writer.write_table(table, row_group_size=max(1, table.num_rows))
            with folder.open(job.unranked("null", layer)) as file:
                null = pq.read_table(file)
            maxima = np.maximum(maxima, null["consistency"].to_numpy())
    null = null.set_column(null.schema.get_field_index("consistency"), "consistency", pa.array(maxima))
    write_parquet(folder, f"{job.inside}/{EFFECTS_NULL_NAME}", [null], EFFECTS_NULL)
    folder.delete_folder(f"{job.inside}/unranked")


def _effects_table(job: EffectsReduction, layer: int, half0: EffectSums, half1: EffectSums) -> pa.Table:
    """The rows of a layer: its neurons in each group."""
    neurons, groups = job.neurons[layer], len(job.groups)
    low, high = half1.interval()
    consistency = np.full(half1.total.shape, np.nan)
    consistency[0] = half1.consistency
    values = {
        "effect": half1.effect,
        "effect_abs": half1.effect_abs,
        "effect_half0": half0.effect,
        "effect_half1": half1.effect,
        "ci_low": low,
        "ci_high": high,
        "p": half1.p_value(),
        "q": np.full_like(low, np.nan),
        "consistency": consistency,
    }
    columns = neuron_columns(neurons, None, groups)
    rows = neurons.count * groups
    columns |= {
        "group": pa.array(np.repeat(np.array(job.groups, object), neurons.count), pa.string()),
        "n": pa.array(np.repeat(half1.count, neurons.count)),
        **{name: _nullable(found) for name, found in values.items()},
        "outcome": pa.array([job.outcome] * rows, pa.string()),
        "prompt": pa.array([job.prompt] * rows, pa.int16()),
    }
    return pa.table({name: columns[name] for name in EFFECTS.names}, schema=EFFECTS)


def _nullable(values: Array) -> pa.Array:
    return pa.array(values.ravel(), from_pandas=True)
