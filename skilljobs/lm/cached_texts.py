"""The texts of a batch, read once, so that prompt and answers can be read behind them again and again."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from skilljobs.lm.batch import TokenizedExample
from skilljobs.lm.model import FrozenLM
from skilljobs.lm.padding import left_padded, text_positions
from skilljobs.lm.passes import select_rows

_ONLY_REPLACED = (DynamicLayer, DynamicSlidingWindowLayer)


@dataclass(frozen=True)
class CachedTexts:
    """`ids` (batch x new) are the last tokens of the texts, which are still to be read; `cache` has read the others.

    `mask` (batch x T) says which tokens of the left-padded texts are real.
    """

    ids: torch.Tensor
    mask: torch.Tensor
    cache: DynamicCache | None

    @property
    def can_be_read_again(self) -> bool:
        """Whether reading behind them leaves what is cached as it is.

        Keys and values are replaced and never changed in place; the states of other layers may be.
        """
        return self.cache is not None and all(type(layer) in _ONLY_REPLACED for layer in self.cache.layers)

    @property
    def size(self) -> int:
        """Bytes that the keys and values hold: those of a sliding window are a part of what was computed."""
        layers = [] if self.cache is None else self.cache.layers
        parts = (part for layer in layers for part in (layer.keys, layer.values) if part is not None)
        return sum(part.untyped_storage().nbytes() for part in parts)

    def again(self) -> "CachedTexts":
        """The same texts, if they `can_be_read_again`: what is read behind these is not added to the others."""
        cache = copy.copy(self.cache)
        assert cache is not None
        cache.layers = [copy.copy(layer) for layer in cache.layers]
        return replace(self, cache=cache)

    def copied_cache(self, copies: int) -> DynamicCache | None:
        """A copy of the cache for `copies` copies of the batch, one after another."""
        if self.cache is None:
            return None
        cache = copy.copy(self.cache)
        copied = copy.copy if self.can_be_read_again else copy.deepcopy
        cache.layers = [copied(layer) for layer in cache.layers]
        select_rows(cache, torch.arange(len(self.mask), device=self.mask.device).repeat(copies))
        return cache


@torch.no_grad()
def read_texts(lm: FrozenLM, batch: Sequence[TokenizedExample], unread: int) -> CachedTexts:
    """Read the texts of `batch` but for the last `unread` tokens of each.

    A gradient may be taken of what is read behind them.
    """
    ids, mask = left_padded([example.text for example in batch], 0, lm.device)
    length = ids.shape[1] - unread
    if length == 0:
        return CachedTexts(ids, mask, None)
    cache = lm.new_cache()
    before = mask[:, :length]
    lm.run_body(lm.embed(ids[:, :length]), before, text_positions(before), cache)
    return CachedTexts(ids[:, length:], mask, cache)


def whole_texts(lm: FrozenLM, batch: Sequence[TokenizedExample]) -> CachedTexts:
    """The texts of `batch`, of which nothing is read yet."""
    ids, mask = left_padded([example.text for example in batch], 0, lm.device)
    return CachedTexts(ids, mask, None)
