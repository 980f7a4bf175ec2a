"""Estimating the effect of every neuron over the shards of a finished run: a shard goes in, committed sums come out."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pyarrow import parquet as pq

from skilljobs.lm.batch import TokenizedExample, plan_batches
from skilljobs.lm.first_order import FirstOrderEffects, first_order_effects
from skilljobs.lm.memory import in_parts
from skilljobs.plan.effects_spec import NULL_DRAWS, EstimatedShard, ShardToEstimate
from skilljobs.stats.effect_sums import EffectSums
from skilljobs.stats.layout import ALL
from skilljobs.stats.null import null_signs
from skilljobs.store.effect_files import effect_sums_file, effect_sums_name
from skilljobs.store.shards import scores_name, sha256
from skilljobs.tasks.base import Example
from skilljobs.worker.finished_shards import FinishedShards

GRADIENT_SHARE = 2
"""A batch has this part of the tokens of one that is only scored, since what gradients need is kept."""


class EffectEstimator(FinishedShards):
    """Works for the estimates of one run."""

    def estimate(self, given: ShardToEstimate) -> EstimatedShard:
        """Estimate the effects over a shard, and commit their sums.

        Examples that have no margin are left out of its effects. Another attempt at the shard may be under way: it
        writes the same bytes.

        Raises:
            InputError: the model is of a kind that effects are not estimated for.
        """
        examples, part = self._read(given.shard)
        if given.outcome == "margin":
            examples = [example for example in examples if example.choices is not None]
        tokenized = self._tokenize(examples)
        begun = time.monotonic()
        shard = self._computer.submit(self._estimate, given, examples, tokenized).result()
        facts = {
            "shard": given.shard,
            "fingerprint": given.fingerprint,
            "examples": sha256(part),
            "difference": shard.difference,
            "set_aside": tuple(shard.set_aside),
            "bit_exact": shard.bit_exact,
        }
        groups = (ALL, *(group.name for group in given.groups))
        data, receipt = effect_sums_file(shard.sums, self.lm.neurons, groups, facts)
        self.folder.write(effect_sums_name(given.outcome, given.shard), data)
        tokens = sum(example.size for example in tokenized) + len(tokenized) * len(self._prompt)
        return EstimatedShard(receipt, tokens, time.monotonic() - begun)

    def _estimate(
        self, given: ShardToEstimate, examples: Sequence[Example], tokenized: Sequence[TokenizedExample]
    ) -> "ShardEffects":
        signs = null_signs([example.unit for example in examples], NULL_DRAWS if given.half == 1 else 0)
        members = np.array(
            [[True, *(group.has(example) for group in given.groups)] for example in examples], bool
        ).reshape(len(examples), 1 + len(given.groups))
        shard = ShardEffects.empty([layer.count for layer in self.lm.neurons], members.shape[1], signs.shape[1])
        expected = self._stored_outcomes(given)
        budget = max(1, self.work.batch_tokens // GRADIENT_SHARE)
        for batch in plan_batches(tokenized, len(self._prompt), budget):

            def estimate(part: list[int]) -> FirstOrderEffects:
                rows = [tokenized[index] for index in part]
                return first_order_effects(self.lm, self._prompt, rows, self._means, given.outcome)

            for part, found in in_parts(batch, estimate):
                shard.bit_exact &= len(part) == len(batch)
                shard.add(found, [examples[index].example_id for index in part], members[part], signs[part], expected)
        return shard

    def _stored_outcomes(self, given: ShardToEstimate) -> dict[str, float]:
        """The outcome of each example in the run itself."""
        with self.folder.open(scores_name(given.shard)) as file:
            table = pq.read_table(file, columns=["example_id", given.outcome])
        return dict(zip(table["example_id"].to_pylist(), table[given.outcome].to_pylist(), strict=True))


@dataclass
class ShardEffects:
    """The sums of a shard so far."""

    sums: list[EffectSums]
    set_aside: list[str]
    difference: float = 0.0
    bit_exact: bool = True

    @classmethod
    def empty(cls, counts: Sequence[int], groups: int, draws: int) -> "ShardEffects":
        return cls([EffectSums.empty(count, groups, draws) for count in counts], [])

    def add(
        self,
        found: FirstOrderEffects,
        ids: Sequence[str],
        members: NDArray[np.bool_],
        signs: NDArray[np.float64],
        expected: dict[str, float],
    ) -> None:
        """Add the effects of some examples, without those that are not finite, which are named."""
        finite = found.finite.cpu().numpy()
        self.set_aside += [example for example, kept in zip(ids, finite, strict=True) if not kept]
        for example, outcome, kept in zip(ids, found.outcomes.tolist(), finite, strict=True):
            if kept:
                size = 1 + abs(expected[example])
                self.difference = max(self.difference, abs(outcome - expected[example]) / size)
        for number, layer in enumerate(found.layers):
            effects = layer.cpu().numpy()[finite]
            self.sums[number] += EffectSums.of(effects, members[finite], signs[finite])
