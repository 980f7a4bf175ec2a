"""Silencing sets of neurons over the shards of a finished run: a shard number goes in, a committed file comes out."""

import time
from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from skilljobs.errors import JobFailed
from skilljobs.lm.batch import TokenizedExample, plan_batches
from skilljobs.lm.memory import in_parts
from skilljobs.lm.neuron_sets import Change, PlacedSet, score_sets, texts_before
from skilljobs.lm.position_kinds import kind_count, prompt_kinds
from skilljobs.lm.position_sums import PositionSums, add_positions
from skilljobs.lm.scores import answer_scores
from skilljobs.lm.trace import read_activations
from skilljobs.neurons.interventions import check_changeable, output_norms
from skilljobs.plan.ablation_work import ShardToAblate
from skilljobs.stats.answers import AnswerScores
from skilljobs.store.ablations import (
    SETS_NAME,
    AblationReceipt,
    NeuronSet,
    ablated_file,
    ablated_name,
    sets_from,
)
from skilljobs.store.position_means import StoredSums, part_name, sums_bytes
from skilljobs.store.shards import sha256
from skilljobs.tasks.base import Example
from skilljobs.worker.finished_shards import FinishedShards

WIDEST_AT_ONCE = 1 << 14
"""Neurons of a layer whose activations are held at all positions of a batch; with more, batches are smaller."""


class Ablator(FinishedShards):
    """Works for one ablation."""

    def norms(self) -> list[NDArray[np.float64]]:
        """The output norm of every neuron, an array for each layer.

        Raises:
            InputError: the model's neurons cannot be silenced.
        """
        check_changeable(self.lm.sites)
        return [torch.cat([output_norms(site) for site in layer.sites]).numpy() for layer in self.lm.sites]

    def measure(self, shard: int) -> int:
        """Write the sums of activations by kind of position over a shard, and return its number."""
        examples, part = self._read(shard)
        sums = self._computer.submit(self._measure, self._tokenize(examples)).result()
        data = sums_bytes(sums, self.lm.neurons, self.work.run_fingerprint, sha256(part))
        self.folder.write(part_name(shard), data)
        return shard

    def ablate(self, given: ShardToAblate) -> AblationReceipt:
        """Score a shard with each set silenced, and commit it.

        Another attempt at the shard may be under way: it writes the same rows.
        """
        examples, part = self._read(given.shard)
        tokenized = self._tokenize(examples)
        donors = self._tokenize([given.donors[example.example_id] for example in examples]) if given.donors else None
        begun = time.monotonic()
        scores, bit_exact = self._computer.submit(self._ablate, examples, tokenized, donors).result()
        per_set = len(tokenized) * len(self._prompt) + sum(len(example.tree.tokens) for example in tokenized)
        texts = sum(len(example.text) for example in tokenized)
        data, receipt = ablated_file(
            [example.example_id for example in examples],
            scores,
            {
                "shard": given.shard,
                "fingerprint": given.fingerprint,
                "examples": sha256(part),
                "tokens": len(scores) * per_set + texts * (len(scores) if self.work.everywhere else 1),
                "seconds": time.monotonic() - begun,
                "bit_exact": bit_exact,
            },
        )
        self.folder.write(ablated_name(self.work.inside, given.shard), data)
        return receipt

    @cached_property
    def _sets(self) -> list[NeuronSet]:
        return sets_from(self.folder.read(f"{self.work.inside}/{SETS_NAME}"))

    @cached_property
    def _placed(self) -> list[PlacedSet]:
        return [PlacedSet.of(self.lm, chosen.neurons) for chosen in self._sets]

    def _measure(self, tokenized: Sequence[TokenizedExample]) -> StoredSums:
        sums = PositionSums.empty(self.lm, len(self._prompt))
        widest = max(layer.count for layer in self.lm.neurons)
        tokens = max(1, self.work.batch_tokens // -(-widest // WIDEST_AT_ONCE))
        for batch in plan_batches(tokenized, len(self._prompt), tokens):
            add_positions(self.lm, self._prompt, [tokenized[index] for index in batch], sums)
        return StoredSums([layer.cpu().numpy() for layer in sums.layers], sums.counts.round().long().cpu().numpy())

    def _ablate(
        self,
        examples: Sequence[Example],
        tokenized: Sequence[TokenizedExample],
        donors: Sequence[TokenizedExample] | None,
    ) -> tuple[list[list[AnswerScores]], bool]:
        """The scores of each example with each set, and whether memory held every batch whole."""
        scores: dict[tuple[int, int], AnswerScores] = {}
        exact = True
        for batch in plan_batches(tokenized, len(self._prompt), self.work.batch_tokens):
            rows = [tokenized[index] for index in batch]
            change = self._change(None if donors is None else [donors[index] for index in batch])
            texts = texts_before(self.lm, self._prompt, rows, self.work.everywhere)
            for chunk in self._chunks(rows):

                def score(part: list[int]) -> list[AnswerScores]:
                    placed = [self._placed[number] for number in part]
                    scored = score_sets(self.lm, self._prompt, rows, placed, change, texts)  # noqa: B023  called at once
                    return self._checked(answer_scores(scored, rows * len(part)), part, examples, batch)  # noqa: B023

                for part, found in in_parts(chunk, score):
                    exact &= len(part) == len(chunk)
                    places = [(number, index) for number in part for index in batch]
                    scores.update(zip(places, found, strict=True))
        sets = range(len(self._sets))
        return [[scores[number, index] for index in range(len(tokenized))] for number in sets], exact

    def _chunks(self, rows: Sequence[TokenizedExample]) -> Iterator[list[int]]:
        """The numbers of the sets that are scored side by side: as many as make half a batch of tokens."""
        width = len(self._prompt) + max(len(example.tree.tokens) for example in rows)
        width += max(len(example.text) for example in rows) if self.work.everywhere else 0
        at_once = max(1, self.work.batch_tokens // (2 * len(rows) * max(1, width)))
        numbers = list(range(len(self._sets)))
        for start in range(0, len(numbers), at_once):
            yield numbers[start : start + at_once]

    def _change(self, donors: Sequence[TokenizedExample] | None) -> Change:
        """What becomes of activations in one batch."""
        rule, kinds = self.work.rule, kind_count(len(self._prompt))
        if rule.baseline == "mean":
            return Change(rule.scale, lambda layer, places: self._means[layer][:, places].T[None], self.work.everywhere)
        if donors is not None:
            others = read_activations(self.lm, self._prompt, donors, "each")
            unused = kinds - prompt_kinds(len(self._prompt))

            def of_donors(layer: int, places: torch.Tensor) -> torch.Tensor:
                return torch.nn.functional.pad(others[layer][:, :, places].transpose(1, 2), (0, unused))

            return Change(rule.scale, of_donors)
        amount = torch.full((1, 1, kinds), rule.amount, dtype=torch.float64, device=self.lm.device)
        return Change(rule.scale, lambda _, places: amount.expand(1, len(places), kinds), self.work.everywhere)

    def _checked(
        self, scores: list[AnswerScores], part: Sequence[int], examples: Sequence[Example], batch: Sequence[int]
    ) -> list[AnswerScores]:
        """The scores, all of them finite.

        Raises:
            JobFailed: one is not.
        """
        for place, score in enumerate(scores):
            if not np.isfinite([score.target_logprob, score.confidence, score.margin or 0.0]).all():
                chosen = self._sets[part[place // len(batch)]]
                raise JobFailed(
                    f"with {chosen.k} neurons changed ({chosen.kind}), the score of the example"
                    f" {examples[batch[place % len(batch)]].example_id!r} is not finite",
                    "a smaller change (--how) or --dtype float32 for the run may hold it",
                )
        return scores
