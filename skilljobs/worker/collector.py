"""Collecting a shard: score its batches and add them to its sums. Needs a model and a prompt, but no files."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from skilljobs.errors import JobFailed
from skilljobs.lm.batch import TokenizedExample, plan_batches
from skilljobs.lm.forward import ScoredBatch, score_batch
from skilljobs.lm.greedy import exact_matches
from skilljobs.lm.memory import in_parts
from skilljobs.lm.model import FrozenLM
from skilljobs.lm.prefix import Prefix, read_prefix
from skilljobs.lm.results import NOT_FINITE_ADVICE
from skilljobs.lm.scores import answer_scores
from skilljobs.lm.trace import read_activations
from skilljobs.neurons.sites import TokenMode, Window
from skilljobs.plan.work import RunWork
from skilljobs.stats.answers import AnswerScores, metric_values
from skilljobs.store.traces import TracedNeuron
from skilljobs.tasks.base import Example
from skilljobs.worker.accumulator import SumsAccumulator, activation_reference, metric_reference
from skilljobs.worker.prepared_shard import PreparedShard, prepare_shard
from skilljobs.worker.threshold_counter import ThresholdCounter


@dataclass(frozen=True)
class Collected:
    """What collecting a shard gives beside its sums.

    `scores`: of each example that was added, by its place in the shard. `set_aside`: the places of those that were
    not, because an activation (in the given layer) or the score (None) is not finite. `bit_exact`: whether memory held
    every batch whole.
    """

    scores: dict[int, AnswerScores]
    set_aside: dict[int, int | None]
    bit_exact: bool


ScoredPart = tuple[list[int], ScoredBatch]
"""A batch, or the part of it that memory held at a time: the indices of its examples, and their scores."""


@dataclass(frozen=True)
class Collector:
    """A frozen model with a prompt (P x d_model, on the model's device), and the run that says what is read."""

    lm: FrozenLM
    prompt: torch.Tensor
    work: RunWork

    def prepare(self, examples: Sequence[Example], tokenized: Sequence[TokenizedExample]) -> PreparedShard:
        """Everything about a shard that is known without running the model."""
        return prepare_shard(examples, tokenized, self.work, len(self.prompt))

    def references(self, shard: PreparedShard) -> tuple[list[NDArray[np.float64]], list[float]]:
        """References of this rank's neurons (float64, tokens x neurons, by layer) and of the metrics, from the first
        batch that has an example whose activations and score are finite.

        Raises:
            JobFailed: no example of the shard is finite.
        """
        prefix = read_prefix(self.lm, shard.tokenized, len(self.prompt))
        for batch in shard.batches:
            parts = [self._finite(shard, *scored) for scored in self._score(shard, batch, prefix)]
            if any(part.indices for part in parts):
                parted = [self._kept(part.activations) for part in parts]
                activations = [torch.cat(layer) for layer in zip(*parted, strict=True)]
                values = torch.from_numpy(np.concatenate([part.values for part in parts]))
                return (
                    [activation_reference(layer).cpu().numpy() for layer in activations],
                    [metric_reference(column) for column in values.T],
                )
        raise JobFailed("no example of the first shard has finite activations and a finite score", NOT_FINITE_ADVICE)

    def collect(
        self, shard: PreparedShard, accumulator: SumsAccumulator, counter: ThresholdCounter | None = None
    ) -> Collected:
        """Add a shard to `accumulator`, without the examples that have an activation or a score that is not finite.

        `counter` counts the same examples, where predictivity is asked for.

        Raises:
            JobFailed: a metric that every example should have is missing.
        """
        scores: dict[int, AnswerScores] = {}
        set_aside: dict[int, int | None] = {}

        def add(indices: list[int], part: ScoredBatch) -> None:
            finite = self._finite(shard, indices, part)
            if finite.indices:
                members = torch.from_numpy(shard.members[finite.indices])
                values = torch.from_numpy(finite.values)
                accumulator.add(self._kept(finite.activations), values, members)
                if counter is not None:
                    counter.add(finite.activations, values, members)
            scores.update(zip(finite.indices, finite.scores, strict=True))
            set_aside.update({indices[row]: self._layer_number(layer) for row, layer in part.not_finite.items()})

        exact = self._score_all(shard, add)
        return Collected(dict(sorted(scores.items())), dict(sorted(set_aside.items())), exact)

    def trace(self, tokenized: Sequence[TokenizedExample], neurons: Sequence[TracedNeuron]) -> NDArray[np.float64]:
        """The activations of single neurons: examples x neurons."""
        traced_activations = np.zeros((len(tokenized), len(neurons)))
        if not neurons:
            return traced_activations

        found = [self.lm.place(traced.name) for traced in neurons]
        places = [(layer, self.lm.sites[layer].column(place)) for layer, place in found]

        def run(part: list[int]) -> torch.Tensor:
            rows = [tokenized[index] for index in part]
            layers = read_activations(self.lm, self.prompt, rows, self.work.spec.tokens)
            columns = [
                layers[layer].new_zeros(len(rows)) if place is None else layers[layer][:, traced.token or 0, place]
                for traced, (layer, place) in zip(neurons, places, strict=True)
            ]
            gathered = torch.stack([column.to(self.lm.device, non_blocking=True) for column in columns], 1)
            return self.lm.ranks.sum(gathered)

        for batch in plan_batches(tokenized, len(self.prompt), self.work.batch_tokens, self.work.batch_cost):
            for part, activations in in_parts(batch, run):
                traced_activations[part] = activations.cpu().numpy()
        return traced_activations

    @property
    def _tokens_read(self) -> TokenMode:
        """What is read of each example: all positions where thresholds are of each."""
        return "each" if self.work.reading.yes_no else self.work.spec.tokens

    def _kept(self, activations: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Of the activations that were read, those that are correlated: rows x tokens x neurons, each layer."""
        window = Window(len(activations[0]), slice(None), self.work.spec.tokens)
        return [window.reduced(layer) for layer in activations] if self.work.reading.yes_no else list(activations)

    def _layer_number(self, place: int | None) -> int | None:
        return None if place is None else self.lm.neurons[place].layer

    def _score_all(self, shard: PreparedShard, take: Callable[[list[int], ScoredBatch], None]) -> bool:
        """Give the scores of each batch to `take`. Returns whether memory held every batch whole.

        One batch is scored ahead: a GPU works on the next one while `take` reads. `take` must not keep the scores, so
        that memory holds two batches at most.
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
        """The scores of a batch, in parts if memory does not hold it whole."""

        def run(part: list[int]) -> ScoredBatch:
            rows = [shard.tokenized[index] for index in part]
            scored = score_batch(self.lm, self.prompt, rows, self._tokens_read, prefix)
            if not self.work.reading.has_exact:
                return scored
            return replace(scored, exact=exact_matches(self.lm, self.prompt, rows, self.work.answer_end, prefix))

        return in_parts(batch, run)

    def _finite(self, shard: PreparedShard, indices: list[int], part: ScoredBatch) -> "_FinitePart":
        """The examples of a scored part whose activations and score are finite."""
        rows = [row for row in range(len(indices)) if row not in part.not_finite]
        kept = [indices[row] for row in rows]
        all_scores = answer_scores(part, [shard.tokenized[index] for index in indices])
        scores, activations = [all_scores[row] for row in rows], part.activations
        if len(rows) < len(indices):
            chosen = torch.tensor(rows, dtype=torch.long).to(self.lm.device)
            activations = [layer.index_select(0, chosen) for layer in activations]
        return _FinitePart(kept, activations, scores, self._metric_values(shard, kept, scores))

    def _metric_values(
        self, shard: PreparedShard, indices: list[int], scores: Sequence[AnswerScores]
    ) -> NDArray[np.float64]:
        """All metrics of the examples: rows x metrics, NaN where a nullable one is missing."""
        derived = [metric_values(score, self.work.reading.choice_probabilities) for score in scores]
        values = shard.values[indices]
        for column, metric in enumerate(self.work.reading.layout.metrics):
            if metric.kind == "model":
                values[:, column] = [example_values[metric.name] for example_values in derived]
            if not metric.nullable and not np.isfinite(values[:, column]).all():
                raise JobFailed(
                    f"the metric {metric.name!r} of an example is {values[~np.isfinite(values[:, column]), column][0]},"
                    " and it is one that every example has",
                    "leave it out (--metric)",
                )
        return values


@dataclass(frozen=True)
class _FinitePart:
    """`indices`: the places of the examples in the shard. `values`: rows x metrics."""

    indices: list[int]
    activations: list[torch.Tensor]
    scores: list[AnswerScores]
    values: NDArray[np.float64]
