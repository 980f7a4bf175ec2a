"""Collecting a shard: score its batches and add them to its sums. Needs a model and a prompt, no Ray, no files."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from skilljobs.engine.job import ScorerJob
from skilljobs.engine.memory import in_parts
from skilljobs.lm.batch import TokenizedExample, plan_batches
from skilljobs.lm.forward import ScoredBatch, score_batch
from skilljobs.lm.model import FrozenLM
from skilljobs.lm.prefix import Prefix, read_prefix
from skilljobs.lm.scores import answer_scores
from skilljobs.lm.trace import read_activations
from skilljobs.stats.answers import AnswerScores, metric_values
from skilljobs.stats.null import null_draws, null_signs
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

    def batches(self, examples: Sequence[TokenizedExample]) -> list[list[int]]:
        return plan_batches(examples, len(self.prompt), self.job.numerics.batch_tokens)

    def score(
        self, tokenized: Sequence[TokenizedExample], batch: list[int], prefix: Prefix | None
    ) -> tuple[list[ScoredPart], bool]:
        """Score the examples of a batch, in halves where memory does not hold it whole; whether it was whole."""

        def run(part: list[int]) -> ScoredBatch:
            rows = [tokenized[index] for index in part]
            return score_batch(self.lm, self.prompt, rows, self.job.spec.tokens, prefix)

        parts = in_parts(batch, run)
        return parts, len(parts) == 1

    def references(
        self, examples: Sequence[Example], tokenized: Sequence[TokenizedExample]
    ) -> tuple[list[NDArray[np.float64]], list[float]]:
        """References of the neurons (float64, tokens x neurons, one a layer) and the metrics, from the first batch."""
        prefix = read_prefix(self.lm, tokenized, len(self.prompt))
        first = self.batches(tokenized)[0]
        parts, _ = self.score(tokenized, first, prefix)
        scores = [
            score for indices, part in parts for score in answer_scores(part, [tokenized[index] for index in indices])
        ]
        activations = [torch.cat(layer) for layer in zip(*(part.activations for _, part in parts), strict=True)]
        values = torch.from_numpy(self._values([examples[index] for index in first], scores))
        return (
            [activation_reference(layer).cpu().numpy() for layer in activations],
            [metric_reference(column) for column in values.T],
        )

    def collect(
        self,
        examples: Sequence[Example],
        tokenized: Sequence[TokenizedExample],
        accumulator: SumsAccumulator,
    ) -> tuple[list[AnswerScores], bool]:
        """Add `examples` to `accumulator`. Returns their scores in order, and whether every batch fitted whole."""
        scores: list[AnswerScores | None] = [None] * len(examples)
        exact = True
        for parts, whole in self._scored(tokenized):
            exact &= whole
            for indices, part in parts:
                here = answer_scores(part, [tokenized[index] for index in indices])
                members = [examples[index] for index in indices]
                values = torch.from_numpy(self._values(members, here))
                accumulator.add(part.activations, values, torch.from_numpy(self._members(members)))
                for index, score in zip(indices, here, strict=True):
                    scores[index] = score
        return [score for score in scores if score is not None], exact

    def trace(self, tokenized: Sequence[TokenizedExample], neurons: Sequence[TracedNeuron]) -> NDArray[np.float64]:
        """The activations of single neurons: examples x neurons."""
        found = np.zeros((len(tokenized), len(neurons)))

        def run(part: list[int]) -> list[torch.Tensor]:
            return read_activations(self.lm, self.prompt, [tokenized[index] for index in part], self.job.spec.tokens)

        for batch in self.batches(tokenized):
            for part, layers in in_parts(batch, run):
                for place, neuron in enumerate(neurons):
                    found[part, place] = layers[neuron.layer][:, neuron.token or 0, neuron.neuron].cpu().numpy()
        return found

    def _scored(self, tokenized: Sequence[TokenizedExample]) -> Iterator[tuple[list[ScoredPart], bool]]:
        """What `score` gives of each batch. One ahead: a GPU works on the next while this is read."""
        prefix = read_prefix(self.lm, tokenized, len(self.prompt))
        waiting = None
        for batch in self.batches(tokenized):
            scored = self.score(tokenized, batch, prefix)
            if waiting:
                yield waiting
            waiting = scored
        if waiting:
            yield waiting

    def _values(self, examples: Sequence[Example], scores: Sequence[AnswerScores]) -> NDArray[np.float64]:
        """Rows x metrics, float64, in the layout's order; NaN where a row lacks a metric."""
        derived = [metric_values(score, self.job.reading.of_choices) for score in scores]
        external = {metric.name: metric for metric in self.job.reading.external}
        nulls = iter(self._nulls([example.unit for example in examples]))
        columns = []
        for metric in self.job.reading.layout.metrics:
            if metric.kind == "null":
                columns.append(next(nulls))
            elif metric.kind == "model":
                columns.append(np.array([values[metric.name] for values in derived]))
            else:
                columns.append(np.array([external[metric.name].value(example) for example in examples]))
        return np.stack(columns, 1)

    def _nulls(self, units: Sequence[str]) -> NDArray[np.float64]:
        """The null metrics of the layout, in its order: metrics x rows."""
        count, values = self.job.spec.null, self.job.reading.null_values
        families = [null_signs(units, count)] + ([] if values is None else [null_draws(units, count, values)])
        return np.concatenate(families, axis=1).T

    def _members(self, examples: Sequence[Example]) -> NDArray[np.bool_]:
        """Rows x populations, bool."""
        return np.array(
            [[True, *(population.has(example) for population in self.job.reading.populations)] for example in examples]
        )


def tokens_read(examples: Sequence[TokenizedExample], prompt_length: int) -> int:
    """Tokens that the model reads for `examples`, without padding."""
    return sum(example.size + prompt_length for example in examples)
