"""Reading the texts of the next batch while this one is computed, since they do not depend on the prompt.

The same operations run, in another thread with as many threads of its own: the numbers are the same to the last bit.
"""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import torch

from skilljobs.lm.batch import TokenizedExample
from skilljobs.lm.cached_texts import CachedTexts, read_texts
from skilljobs.lm.model import FrozenLM
from skilljobs.machine import available_cpus

_STATELESS_ROPE = {"default", "linear", "llama3", "yarn"}
"""Rotary embeddings that stay as they are while a model runs; `dynamic` and `longrope` change with the length."""


def may_read_ahead(lm: FrozenLM) -> bool:
    """Return whether two passes of a model may run at once, and whether there is a processor for the second one.

    Only models whose code is that of transformers are trusted to keep nothing from one pass to another.
    """
    if lm.is_masked or lm.ranks.are_several or lm.device.type != "cpu":
        return False
    if 2 * torch.get_num_threads() > available_cpus():
        return False
    if not type(lm.model).__module__.startswith("transformers.models."):
        return False
    return all(_rope_types(module) <= _STATELESS_ROPE for module in lm.model.modules())


def _rope_types(module: torch.nn.Module) -> set[str]:
    found = getattr(module, "rope_type", None)
    return set() if found is None else set(found.values()) if isinstance(found, dict) else {str(found)}


class TextsAhead:
    """Reads the texts of one batch ahead, if that may be done."""

    def __init__(self, lm: FrozenLM, allowed: bool = True) -> None:
        self._lm = lm
        self._executor: ThreadPoolExecutor | None = None
        self._begun: tuple[Sequence[TokenizedExample], Future[CachedTexts]] | None = None
        if allowed and may_read_ahead(lm):
            self._executor = ThreadPoolExecutor(1, "texts", torch.set_num_threads, (torch.get_num_threads(),))

    @property
    def is_allowed(self) -> bool:
        """Whether texts are read ahead."""
        return self._executor is not None

    def begin(self, batch: Sequence[TokenizedExample]) -> None:
        """Begin to read the texts of `batch`."""
        if self._executor is not None:
            self._begun = batch, self._executor.submit(read_texts, self._lm, batch, 0)

    def take(self, batch: Sequence[TokenizedExample]) -> CachedTexts | None:
        """Return the texts of `batch`, which can be read behind once; None unless they are those that were begun."""
        begun, self._begun = self._begun, None
        if begun is None or not same_examples(begun[0], batch):
            return None
        try:
            return begun[1].result()
        except RuntimeError:  # such as too little memory: they are read again where that is dealt with
            return None

    def close(self) -> None:
        """Wait for what was begun."""
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)


def same_examples(first: Sequence[TokenizedExample], second: Sequence[TokenizedExample]) -> bool:
    """Whether two batches are of the same examples in the same order."""
    return len(first) == len(second) and all(one is other for one, other in zip(first, second, strict=True))
