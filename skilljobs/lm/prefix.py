"""What all texts of a shard begin with, an instruction or worked examples, read once for all of them."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import DynamicCache

from skilljobs.lm.batch import TokenizedExample, longest
from skilljobs.lm.model import FrozenLM

SHORTEST = 24
"""Fewer common tokens are not worth a cache."""


@dataclass(frozen=True)
class Prefix:
    """`length` tokens that every text begins with, and the cache of one row that has read them."""

    length: int
    cache: DynamicCache

    def cache_of(self, rows: int) -> DynamicCache:
        """A cache of its own for a batch of so many rows."""
        cache = copy.deepcopy(self.cache)
        cache.batch_repeat_interleave(rows)
        return cache


def common_length(examples: Sequence[TokenizedExample]) -> int:
    """Tokens that all texts begin with, and that leave at least one of each."""
    texts = [example.text for example in examples]
    first, last = min(texts), max(texts)
    most = min(map(len, texts)) - 1
    return next((place for place in range(most) if first[place] != last[place]), most)


@torch.inference_mode()
def read_prefix(lm: FrozenLM, examples: Sequence[TokenizedExample], prompt_length: int) -> Prefix | None:
    """The common prefix of `examples`, read; None where there is none of any length, or the model takes no trees."""
    length = common_length(examples)
    if length < SHORTEST or not lm.takes_trees(longest(examples, prompt_length)):
        return None
    ids = torch.tensor([examples[0].text[:length]], device=lm.device)
    cache = lm.new_cache()
    mask = torch.ones_like(ids, dtype=torch.bool)
    lm.run_body(lm.embed(ids), mask, torch.arange(length, device=lm.device)[None], cache)
    return Prefix(length, cache)
