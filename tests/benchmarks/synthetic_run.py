"""A run of any shape whose shards hold random sums, written by the project's own writers."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skilljobs.reduce.layers import ReduceJob
from skilljobs.spec import JobSpec
from skilljobs.stats.layout import ALL, Layout, Metric
from skilljobs.stats.neurons import LayerNeurons
from skilljobs.stats.sums import ShardSums
from skilljobs.store.record import ExampleCounts, Fingerprint, ModelFacts, RunRecord, StageRecord
from skilljobs.store.references import METRICS_NAME, REFERENCE_NAME, metrics_bytes, reference_bytes
from skilljobs.store.run import RunFiles
from skilljobs.store.shards import moments_file, moments_name, sums_file, sums_name

Array = NDArray[np.float64]
EXAMPLES = 4096
"""Of each shard."""


@dataclass(frozen=True)
class Shape:
    """What decides how large a run is."""

    layers: int = 80
    width: int = 28_672
    metrics: int = 8
    nulls: int = 0
    groups: int = 4
    """Populations beside `all`."""
    shards: int = 16
    tokens: int | None = None
    """Prompt positions that are kept; None if they are averaged."""

    @property
    def layout(self) -> Layout:
        named = tuple(Metric(f"metric{number}", "external", False, f"metric{number}") for number in range(self.metrics))
        nulls = tuple(Metric(f"null:{number}", "null", False) for number in range(self.nulls))
        populations = tuple(f"group={number}" for number in range(self.groups))
        return Layout(named + nulls, (ALL, *populations), {"group": populations} if populations else {})

    @property
    def neurons(self) -> tuple[LayerNeurons, ...]:
        return tuple(LayerNeurons(layer, self.width) for layer in range(self.layers))

    @property
    def halves(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        return tuple(range(0, self.shards, 2)), tuple(range(1, self.shards, 2))

    def reduce_job(self, uri: str) -> ReduceJob:
        return ReduceJob(uri, self.layout, self.halves, self.tokens, self.neurons)


def write_run(uri: str, shape: Shape, seed: int = 0) -> None:
    """Write the record, the references, and the sums and moments of every shard."""
    run, layout, rng = RunFiles(uri), shape.layout, np.random.default_rng(seed)
    references = [np.zeros((shape.tokens or 1, shape.width))] * shape.layers
    run.folder.write(REFERENCE_NAME, reference_bytes(references, shape.neurons, shape.tokens is not None))
    run.folder.write(METRICS_NAME, metrics_bytes(layout, [0.0] * len(layout.metrics), "neurons"))
    for shard in range(shape.shards):
        sums = _shard(shape, rng)
        run.folder.write(sums_name(shard), sums_file(sums, layout, shape.neurons, shape.tokens))
        run.folder.write(moments_name(shard), moments_file(sums, layout))
    run.save(_record(shape))


def _shard(shape: Shape, rng: np.random.Generator) -> ShardSums:
    """What normal activations and metrics without an association would add up to, or nearly."""
    counts = np.full(1 + shape.groups, EXAMPLES // max(1, shape.groups))
    counts[0] = EXAMPLES
    metrics = shape.metrics + shape.nulls
    columns = shape.width * (shape.tokens or 1)
    spread = np.sqrt(counts)[:, None, None]
    one = spread * rng.normal(size=(len(counts), 1 + metrics, columns))
    square = counts[:, None, None] * rng.normal(1.0, 0.05, (len(counts), 1, columns))
    n = np.broadcast_to(counts[:, None, None], (len(counts), metrics, metrics))
    moments = np.sqrt(n) * rng.normal(size=n.shape)
    return ShardSums(
        linear=[np.roll(one, layer, 2) for layer in range(shape.layers)],
        square=[np.roll(square, layer, 2) for layer in range(shape.layers)],
        count=counts,
        moment_count=n.copy(),
        moment_sum=moments,
        moment_square=n.astype(np.float64),
        moment_product=np.where(np.eye(metrics, dtype=bool), n, moments),
    )


def _record(shape: Shape) -> RunRecord:
    return RunRecord(
        run_id="synthetic",
        created="2026-01-01T00:00:00+00:00",
        spec=JobSpec(data="rows.jsonl", model="synthetic", null=shape.nulls).as_json(),
        planned_stages=("reduce",),
        fingerprint=Fingerprint.of({}),
        versions={},
        stages={name: StageRecord(seconds=0.0) for name in ("reference", "collect", "reduce")},
        examples=ExampleCounts(train=0, validation=0, test=EXAMPLES * shape.shards),
        shards=(EXAMPLES,) * shape.shards,
        halves=shape.halves,
        units_repeat=False,
        model=ModelFacts(name="synthetic", neurons=shape.neurons),
        groups=shape.layout.groups,
        quarantined=(),
    )
