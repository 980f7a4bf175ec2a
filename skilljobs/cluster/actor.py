"""The scorer as a Ray actor. Torch is imported in the actor's process only: the driver starts without it."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import ray
from numpy.typing import NDArray
from ray.actor import ActorHandle

from skilljobs.cluster.telemetry import count
from skilljobs.lm.results import TuningPoint
from skilljobs.plan.ablation_work import AblationWork, ShardToAblate
from skilljobs.plan.capacity import Replicas
from skilljobs.plan.work import LeftOut, LoadedModel, ModelSetup, PromptAccuracy, RunWork, UnfitMachine
from skilljobs.stats.neurons import NeuronName
from skilljobs.store.ablations import AblationReceipt
from skilljobs.store.shards import Receipt
from skilljobs.store.traces import TracedNeuron
from skilljobs.tasks.base import Example


@ray.remote(max_restarts=0, max_task_retries=0, max_concurrency=2, concurrency_groups={"pulse": 1})
class ScorerActor:
    """See `skilljobs.worker.scorer.Scorer`. Two calls run at once, and one computes; `ping` runs beside them."""

    def __init__(self, setup: ModelSetup) -> None:
        self._setup = setup

    @ray.method(concurrency_group="pulse")
    def ping(self) -> None:
        """Answer, which an actor that hangs does not."""

    def load(self) -> LoadedModel | UnfitMachine:
        from skilljobs.worker.scorer import Scorer

        self._scorer = Scorer(self._setup)
        return replace(self._scorer.load(), node=ray.get_runtime_context().get_node_id())

    def make_prompt(self, work: RunWork, reused: bytes | None) -> Iterator[TuningPoint | LeftOut | PromptAccuracy]:
        yield from self._scorer.make_prompt(work, reused)

    def make_references(self, work: RunWork) -> None:
        self._scorer.for_run(work).make_references()

    def make_thresholds(self, work: RunWork) -> None:
        self._scorer.for_run(work).make_thresholds()

    def score(self, work: RunWork, shard: int, fingerprint: str, attempt: int) -> Receipt:
        receipt = self._scorer.for_run(work).score(shard, fingerprint, attempt)
        count("examples", receipt.examples, work.run_id)
        count("tokens", receipt.tokens, work.run_id)
        count("bytes_written", receipt.bytes_written, work.run_id)
        count("scoring_seconds", receipt.seconds, work.run_id)
        return receipt

    def trace(self, work: RunWork, shard: int, neurons: Sequence[TracedNeuron]) -> tuple[int, NDArray[np.float64]]:
        return shard, self._scorer.for_run(work).trace(shard, neurons)

    def output_norms(self, work: AblationWork) -> list[NDArray[np.float64]]:
        return self._scorer.for_ablation(work).norms()

    def measure(self, work: AblationWork, shard: int) -> int:
        return self._scorer.for_ablation(work).measure(shard)

    def ablate(self, work: AblationWork, shard: ShardToAblate) -> AblationReceipt:
        receipt = self._scorer.for_ablation(work).ablate(shard)
        count("tokens", receipt.tokens, work.run_id)
        count("scoring_seconds", receipt.seconds, work.run_id)
        return receipt

    def write(self, part: int, requests: Sequence[str], seed: int) -> tuple[int, list[str]]:
        return part, self._scorer.write(requests, seed)

    def judge(
        self, part: int, questions: Sequence[Example], answer_end: str | None, batch_tokens: int
    ) -> tuple[int, list[float]]:
        return part, self._scorer.judge(questions, answer_end, batch_tokens)

    def vocabulary(self, neurons: Sequence[NeuronName]) -> list[dict[str, Any]]:
        return self._scorer.vocabulary(neurons)


def start_scorer(name: str, setup: ModelSetup, replicas: Replicas) -> ActorHandle:
    """Ask Ray for one more scorer, which takes the CPUs and GPUs of a replica."""
    return ScorerActor.options(  # type: ignore[attr-defined, no-any-return]
        name=name, num_cpus=replicas.cpus, num_gpus=replicas.gpus
    ).remote(setup)
