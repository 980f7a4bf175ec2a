"""The scorer as a Ray actor. Torch is imported in the actor's process only: the driver starts without it."""

import os
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import ray
from numpy.typing import NDArray

from skilljobs.cluster.telemetry import count
from skilljobs.errors import InputError
from skilljobs.lm.tuning_rounds import PartResult, PromptStart, TuningRound
from skilljobs.plan.ablation_work import AblationWork, ShardToAblate
from skilljobs.plan.effects_spec import EstimatedShard, ShardToEstimate
from skilljobs.plan.work import LoadedModel, ModelSetup, RunWork, UnfitMachine
from skilljobs.stats.neurons import NeuronName
from skilljobs.store.ablations import AblationReceipt
from skilljobs.store.shards import Receipt
from skilljobs.store.traces import TracedNeuron
from skilljobs.tasks.base import Example


class RanksPartedError(Exception):
    """A call failed on one of several ranks: the others may be anywhere in it, and none can go on."""


@ray.remote(max_restarts=0, max_task_retries=0, max_concurrency=2, concurrency_groups={"pulse": 1})
class ScorerActor:
    """See `skilljobs.worker.scorer.Scorer`. Two calls run at once, and one computes; `ping` runs beside them."""

    def __init__(self, setup: ModelSetup, rank: int = 0) -> None:
        self._setup, self._rank = setup, rank

    @ray.method(concurrency_group="pulse")
    def ping(self, *answers: None) -> None:
        """Answer, which an actor that hangs does not. Ray calls this once there are the `answers` of others."""

    def meeting_point(self) -> str:
        """A file of this machine at which the ranks of one scorer can meet."""
        return os.path.join(tempfile.mkdtemp(prefix="skilljobs-ranks-"), "store")

    def follow(self, method: str, *arguments: Any) -> None:
        """As one of several ranks, do what the first one does. A rank that fails ends, so that the first one notices.

        It ends its process at once: what waits for the others would not end by itself.
        """
        try:
            result = getattr(self, method)(*arguments)
            for _ in result if isinstance(result, Iterator) else ():
                pass
        except BaseException:
            traceback.print_exc()
            os._exit(1)

    @contextmanager
    def _in_step(self) -> Iterator[None]:
        """What fails within the block parts several ranks, but for input that all of them refuse."""
        try:
            yield
        except InputError:
            raise
        except Exception as error:
            if self._setup.ranks == 1:
                raise
            traceback.print_exc()
            raise RanksPartedError(str(error)) from error

    def load(self, meeting_point: str = "") -> LoadedModel | UnfitMachine:
        from skilljobs.worker.scorer import Scorer

        with self._in_step():
            self._scorer = Scorer(self._setup, self._rank, meeting_point)
            return replace(self._scorer.load(), node=ray.get_runtime_context().get_node_id())

    def start_prompt(self, work: RunWork, reused: bytes | None) -> PromptStart:
        with self._in_step():
            return self._scorer.for_tuning(work).start(reused)

    def tune_parts(
        self, item: int, work: RunWork, asked: TuningRound, parts: Sequence[int], reads_ahead: bool
    ) -> tuple[int, list[PartResult]]:
        with self._in_step():
            return item, self._scorer.for_tuning(work).of_parts(asked, parts, reads_ahead)

    def make_references(self, work: RunWork) -> None:
        with self._in_step():
            self._scorer.for_run(work).make_references()

    def make_thresholds(self, work: RunWork) -> None:
        self._scorer.for_run(work).make_thresholds()

    def score(self, work: RunWork, shard: int, fingerprint: str, attempt: int) -> Receipt:
        with self._in_step():
            receipt = self._scorer.for_run(work).score(shard, fingerprint, attempt)
        if self._rank > 0:
            return receipt
        count("examples", receipt.examples, work.run_id)
        count("tokens", receipt.tokens, work.run_id)
        count("bytes_written", receipt.bytes_written, work.run_id)
        count("scoring_seconds", receipt.seconds, work.run_id)
        return receipt

    def trace(self, work: RunWork, shard: int, neurons: Sequence[TracedNeuron]) -> tuple[int, NDArray[np.float64]]:
        with self._in_step():
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

    def estimate(self, work: AblationWork, shard: ShardToEstimate) -> EstimatedShard:
        done = self._scorer.for_effects(work).estimate(shard)
        count("tokens", done.tokens, work.run_id)
        count("scoring_seconds", done.seconds, work.run_id)
        return done

    def write(self, part: int, requests: Sequence[str], seed: int) -> tuple[int, list[str]]:
        return part, self._scorer.write(requests, seed)

    def judge(
        self, part: int, questions: Sequence[Example], answer_end: str | None, batch_tokens: int
    ) -> tuple[int, list[float]]:
        return part, self._scorer.judge(questions, answer_end, batch_tokens)

    def vocabulary(self, neurons: Sequence[NeuronName]) -> list[dict[str, Any]]:
        with self._in_step():
            return self._scorer.vocabulary(neurons)
