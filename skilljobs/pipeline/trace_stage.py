"""The stage that reads the top neurons example by example, and the tokens that they write."""

import numpy as np
import pyarrow as pa

from skilljobs.pipeline.job import Job
from skilljobs.pipeline.stage import Stage
from skilljobs.store.provenance import provenance_of
from skilljobs.store.run import ACTIVATIONS_NAME, PROMPT_NAME, TOP_NAME, VOCABULARY_NAME
from skilljobs.store.schema import VOCABULARY, write_parquet
from skilljobs.store.traces import TRACED_EXAMPLES, activations_bytes, neurons_to_trace


class Trace(Stage):
    """Trace the top neurons of each metric over examples of half 1."""

    name = "trace"
    needs = "scorers"
    reads = (PROMPT_NAME, TOP_NAME, "examples/part-*.parquet")
    writes = (ACTIVATIONS_NAME, VOCABULARY_NAME)

    def run(self, job: Job) -> str:
        plan, folder, pool = job.plan, job.run.folder, job.workplace.pool
        neurons = neurons_to_trace(folder)
        shards: list[int] = []
        for shard in plan.halves[1]:
            if sum(len(plan.shards[chosen]) for chosen in shards) < TRACED_EXAMPLES:
                shards.append(shard)
        traced: dict[int, np.ndarray] = {}
        results = pool.map(shards, lambda actor, shard: actor.trace.remote(job.work, shard, neurons))
        for shard, activations in results:
            traced[shard] = activations
            job.reporter.advance(len(traced), "shards")
        ids = [example.example_id for shard in shards for example in plan.shards[shard]][:TRACED_EXAMPLES]
        values = np.concatenate([traced[shard] for shard in shards]) if shards else np.zeros((0, len(neurons)))
        set_aside = {example.example_id for example in job.run.record.set_aside}
        rows = [row for row, example_id in enumerate(ids) if example_id not in set_aside]
        ids = [ids[row] for row in rows]
        folder.write(ACTIVATIONS_NAME, activations_bytes(ids, neurons, values[rows], provenance_of(folder)))
        names = sorted({neuron.name for neuron in neurons}, key=lambda name: name.order)

        def write_vocabulary(rows: list[dict[str, object]]) -> None:
            write_parquet(folder, VOCABULARY_NAME, [pa.Table.from_pylist(rows, VOCABULARY)], VOCABULARY)

        pool.run_on_one(lambda actor: [actor.vocabulary.remote(names)], write_vocabulary)
        return f"{len(names)} neurons over {len(ids)} examples of half 1"
