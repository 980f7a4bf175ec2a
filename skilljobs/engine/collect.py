"""Collecting a shard: score its batches and add them to its sums. Needs a model and a prompt, no Ray, no files."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from skilljobs.engine.job import ScorerJob
from skilljobs.engine.prepared import PreparedShard, prepare
from skilljobs.lm.batch import TokenizedExample, plan_batches
from skilljobs.lm.forward import ScoredBatch, score_batch
from skilljobs.lm.memory import in_parts
from skilljobs.lm.model import FrozenLM
from skilljobs.lm.prefix import Prefix, read_prefix
from skilljobs.lm.scores import answer_scores
from skilljobs.lm.trace import read_activations
from skilljobs.stats.answers import AnswerScores, metric_values
from skilljobs.stats.sums import SumsAccumulator, activation_reference, metric_reference
from skilljobs.store.traces import TracedNeuron
from skilljobs.tasks.base import Example

ScoredPart = tuple[list[int], ScoredBatch]
"""A batch, or as much of it as memory held at a time: the places of its examples, and their scores."""


@dataclass(frozen=True)
class Collector:
    """A frozen model with a prompt (P x d_model, on the model's device), and the job that says what is read of it."""

    lm: FrozenLM
    prompt: torch.Tensor
    job: ScorerJob

    def prepare(self, examples: Sequence[Example], tokenized: Sequence[TokenizedExample]) -> PreparedShard:
        return prepare(examples, tokenized, self.job, len(self.prompt))

    def references(self, shard: PreparedShard) -> tuple[list[NDArray[np.float64]], list[float]]:
        """References of the neurons (float64, tokens x neurons, one a layer) and the metrics, from the first batch."""
        prefix = read_prefix(self.lm, shard.tokenized, len(self.prompt))
        parts = list(self._score(shard, shard.batches[0], prefix))
        activations = [torch.cat(layer) for layer in zip(*(part.activations for _, part in parts), strict=True)]
        values = torch.from_numpy(np.concatenate([self._read(shard, places, part)[1] for places, part in parts]))
        return (
            [activation_reference(layer).cpu().numpy() for layer in activations],
            [metric_reference(column) for column in values.T],
        )

    def collect(self, shard: PreparedShard, accumulator: SumsAccumulator) -> tuple[list[AnswerScores], bool]:
        """Add a shard to `accumulator`. Returns the scores of its examples, and whether every batch fitted whole."""
        scores: dict[int, AnswerScores] = {}

        def add(places: list[int], part: ScoredBatch) -> None:
            here, values = self._read(shard, places, part)
            accumulator.add(part.activations, torch.from_numpy(values), torch.from_numpy(shard.members[places]))
            scores.update(zip(places, here, strict=True))

        exact = self._score_all(shard, add)
        return [scores[place] for place in range(len(shard.tokenized))], exact

    def trace(self, tokenized: Sequence[TokenizedExample], neurons: Sequence[TracedNeuron]) -> NDArray[np.float64]:
        """The activations of single neurons: examples x neurons."""
        found = np.zeros((len(tokenized), len(neurons)))
        if not neurons:
            return found

        def run(part: list[int]) -> torch.Tensor:
            rows = [tokenized[place] for place in part]
            layers = read_activations(self.lm, self.prompt, rows, self.job.spec.tokens)
            columns = [layers[traced.layer][:, traced.token or 0, traced.neuron] for traced in neurons]
            return torch.stack([column.to(self.lm.device, non_blocking=True) for column in columns], 1)

        for batch in plan_batches(tokenized, len(self.prompt), self.job.numerics.batch_tokens):
            for part, activations in in_parts(batch, run):
                found[part] = activations.cpu().numpy()
        return found

    def _score_all(self, shard: PreparedShard, take: Callable[[list[int], ScoredBatch], None]) -> bool:
        """Give the scores of each batch to `take`. Returns whether memory held every batch whole.

        One ahead: a GPU works on the next while `take` reads. It must keep nothing, so that memory holds two batches.
        """
        prefix = read_prefix(self.lm, shard.tokenized, len(self.prompt))
        exact, waiting = True, None
        for batch in shard.batches:
            for scored in self._score(shard, batch, prefix):
                exact &= len(scored[0]) == len(batch)
                if waiting:
                    take(*waiting)
                waiting = scored
        if waiting:
            take(*waiting)
        return exact

    def _score(self, shard: PreparedShard, batch: list[int], prefix: Prefix | None) -> Iterator[ScoredPart]:
        """The scores of a batch, in parts where memory does not hold it whole."""

        def run(part: list[int]) -> ScoredBatch:
            rows = [shard.tokenized[place] for place in part]
            return score_batch(self.lm, self.prompt, rows, self.job.spec.tokens, prefix)

        return in_parts(batch, run)

    def _read(
        self, shard: PreparedShard, places: list[int], part: ScoredBatch
    ) -> tuple[list[AnswerScores], NDArray[np.float64]]:
        """What the model thought of the examples, and all their metrics: rows x metrics, NaN where one is missing."""
        scores = answer_scores(part, [shard.tokenized[place] for place in places])
        derived = [metric_values(score, self.job.reading.of_choices) for score in scores]
        values = shard.values[places]
        for column, metric in enumerate(self.job.reading.layout.metrics):
            if metric.kind == "model":
                values[:, column] = [of_example[metric.name] for of_example in derived]
        return scores, values
