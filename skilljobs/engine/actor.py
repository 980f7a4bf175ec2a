"""The scorer as a Ray actor. Torch is imported in the actor's process only: the driver starts without it."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import ray
from numpy.typing import NDArray
from ray.actor import ActorHandle

from skilljobs.engine.cluster.capacity import Replicas
from skilljobs.engine.cluster.telemetry import count
from skilljobs.engine.job import ScorerJob
from skilljobs.store.shards import Receipt
from skilljobs.store.traces import TracedNeuron
from skilljobs.tasks.base import Example


@ray.remote(max_restarts=0, max_task_retries=0, max_concurrency=2)
class ScorerActor:
    """See `skilljobs.engine.scorer.Scorer`. Two calls at once, of which one computes."""

    def __init__(self, job: ScorerJob) -> None:
        self._job = job

    def load(self) -> dict[str, Any]:
        from skilljobs.engine.tuning import TuningScorer

        self._scorer = TuningScorer(self._job)
        return self._scorer.load() | {"node": ray.get_runtime_context().get_node_id()}

    def make_prompt(self, reused: bytes | None) -> Iterator[dict[str, Any]]:
        yield from self._scorer.make_prompt(reused)

    def make_references(self) -> None:
        self._scorer.make_references()

    def score(self, shard: int, fingerprint: str) -> Receipt:
        receipt = self._scorer.score(shard, fingerprint)
        count("examples", receipt.examples, self._job.run_id)
        count("tokens", receipt.tokens, self._job.run_id)
        count("bytes_written", receipt.bytes_written, self._job.run_id)
        count("scoring_seconds", receipt.seconds, self._job.run_id)
        return receipt

    def trace(self, shard: int, neurons: Sequence[TracedNeuron]) -> tuple[int, NDArray[np.float64]]:
        return shard, self._scorer.trace(shard, neurons)

    def write(self, part: int, requests: Sequence[str], seed: int) -> tuple[int, list[str]]:
        return part, self._scorer.write(requests, seed)

    def judge(self, part: int, questions: Sequence[Example]) -> tuple[int, list[float]]:
        return part, self._scorer.judge(questions)

    def vocabulary(self, neurons: Sequence[tuple[int, int]]) -> list[dict[str, Any]]:
        return self._scorer.vocabulary(neurons)


def start_scorer(name: str, job: ScorerJob, replicas: Replicas) -> ActorHandle:
    return ScorerActor.options(  # type: ignore[attr-defined, no-any-return]
        name=name, num_cpus=replicas.cpus, num_gpus=replicas.gpus
    ).remote(job)
