"""The activations of a few neurons of a finished run over whole shards, kept shard by shard."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from skilljobs.analysis.neurons_in_question import QuestionedNeuron
from skilljobs.pipeline.silencing import Silencing
from skilljobs.plan.work import Reading, RunWork
from skilljobs.progress.reporter import timed
from skilljobs.store.examples import examples_from
from skilljobs.store.shards import examples_name
from skilljobs.store.shortcut_files import read_traced, traced_bytes, traced_name


def trace_neurons(
    silencing: Silencing, search: str, fingerprint: str, neurons: Sequence[QuestionedNeuron], shards: Sequence[int]
) -> tuple[list[str], NDArray[np.float64]]:
    """Trace `neurons` over `shards`, as far as that is not done; the scorers of `silencing` are started.

    Returns:
        the names of the files, and the activations of the examples that the run did not set aside, examples x neurons;
        of a neuron that is read at several positions, their mean.
    """
    folder, work = silencing.files.folder, _work(silencing)
    traced = [traced for neuron in neurons for traced in neuron.traced]
    names = {shard: traced_name(search, shard) for shard in shards}
    found = {shard: read_traced(folder, name, fingerprint, len(traced)) for shard, name in names.items()}
    missing = [shard for shard in shards if found[shard] is None]
    with timed(silencing.reporter, "trace", len(shards)) as timing:
        results = silencing.workplace.pool.map(missing, lambda actor, shard: actor.trace.remote(work, shard, traced))
        for done, (shard, values) in enumerate(results, len(shards) - len(missing) + 1):
            ids = [example.example_id for example in examples_from(folder.read(examples_name(shard)))]
            folder.write(names[shard], traced_bytes(ids, traced, values, fingerprint))
            found[shard] = (ids, values)
            silencing.reporter.advance(done, "shards")
        half = 0 if set(shards) <= set(silencing.run.record.halves[0]) else 1
        timing.summary = f"{len(neurons)} neurons over {len(shards)} shards of half {half}"
    kept = []
    for shard in shards:
        of_shard = found[shard]
        assert of_shard is not None
        ids, values = of_shard
        kept.append(values[[name not in silencing.work.left_out for name in ids]])
    starts = np.cumsum([0, *(len(neuron.traced) for neuron in neurons)])[:-1]
    sums = np.add.reduceat(np.concatenate(kept), starts, axis=1)
    return list(names.values()), np.asarray(sums / [len(neuron.traced) for neuron in neurons])


def _work(silencing: Silencing) -> RunWork:
    """What a scorer must know to trace."""
    work, run = silencing.work, silencing.run
    numerics = run.record.numerics
    assert numerics is not None, "the run is finished"
    return RunWork(
        job_id=work.job_id,
        uri=work.uri,
        run_id=work.run_id,
        spec=run.record.job_spec,
        model_name=silencing.plan.source.name,
        reading=Reading(run.layout(), (), (), None),
        answer_end=work.answer_end,
        batch_tokens=work.batch_tokens,
        batch_cost=numerics.batch_cost,
    )
