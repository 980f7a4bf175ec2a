"""The common beginning of all texts of a shard, an instruction or worked examples, which is read only once."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import DynamicCache

from skilljobs.lm.batch import TokenizedExample, longest_sequence
from skilljobs.lm.model import FrozenLM

SHORTEST = 24
"""The shortest prefix in tokens: fewer common tokens are not worth caching."""


@dataclass(frozen=True)
class Prefix:
    """The number of tokens that every text begins with, and a cache of one row that has read them."""

    length: int
    cache: DynamicCache

    def expanded_cache(self, rows: int) -> DynamicCache:
        """Return a copy of the cache for a batch of `rows` rows."""
        cache = copy.deepcopy(self.cache)
        cache.batch_repeat_interleave(rows)
        return cache


def common_length(examples: Sequence[TokenizedExample]) -> int:
    """Return the number of tokens that all texts begin with, leaving at least one token of each text."""
    texts = [example.text for example in examples]
    first, last = min(texts), max(texts)
    limit = min(map(len, texts)) - 1
    return next((index for index in range(limit) if first[index] != last[index]), limit)


@torch.inference_mode()
def read_prefix(lm: FrozenLM, examples: Sequence[TokenizedExample], prompt_length: int) -> Prefix | None:
    """Read the common prefix of `examples`.

    Returns None if the prefix is shorter than `SHORTEST`, or if the model cannot read the examples as trees.
    """
    length = common_length(examples)
    if length < SHORTEST or not lm.takes_trees(longest_sequence(examples, prompt_length)):
        return None
    ids = torch.tensor([examples[0].text[:length]], device=lm.device)
    cache = lm.new_cache()
    mask = torch.ones_like(ids, dtype=torch.bool)
    lm.run_body(lm.embed(ids), mask, torch.arange(length, device=lm.device)[None], cache)
    return Prefix(length, cache)
