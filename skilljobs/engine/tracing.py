"""The trace stage: the top neurons over examples of half 1, and the tokens that they write. Imports no torch."""

import numpy as np
import pyarrow as pa

from skilljobs.engine.plan import JobPlan
from skilljobs.engine.pool import ScorerPool
from skilljobs.reporter import Reporter
from skilljobs.store.run import ACTIVATIONS_NAME, VOCABULARY_NAME, RunFiles
from skilljobs.store.schema import VOCABULARY, parquet_bytes
from skilljobs.store.traces import TRACED_EXAMPLES, activations_bytes, neurons_to_trace


def trace_top(plan: JobPlan, run: RunFiles, pool: ScorerPool, reporter: Reporter) -> str:
    """Write `activations.parquet` and `vocabulary.parquet`. Returns a line about them.

    Raises:
        JobFailed: a shard could not be read.
    """
    neurons = neurons_to_trace(run.folder)
    shards: list[int] = []
    for shard in plan.halves[1]:
        if sum(len(plan.shards[chosen]) for chosen in shards) < TRACED_EXAMPLES:
            shards.append(shard)
    found: dict[int, np.ndarray] = {}
    for shard, activations in pool.map(shards, lambda actor, shard: actor.trace.remote(shard, neurons)):
        found[shard] = activations
        reporter.advance(len(found), "shards")
    ids = [example.example_id for shard in shards for example in plan.shards[shard]][:TRACED_EXAMPLES]
    values = np.concatenate([found[shard] for shard in shards]) if shards else np.zeros((0, len(neurons)))
    run.folder.write(ACTIVATIONS_NAME, activations_bytes(ids, neurons, values[: len(ids)]))
    places = sorted({(neuron.layer, neuron.neuron) for neuron in neurons})

    def write_vocabulary(rows: list[dict[str, object]]) -> None:
        run.folder.write(VOCABULARY_NAME, parquet_bytes([pa.Table.from_pylist(rows, VOCABULARY)], VOCABULARY))

    pool.run_on_one(lambda actor: [actor.vocabulary.remote(places)], write_vocabulary)
    return f"{len(places)} neurons over {len(ids)} examples of half 1"
