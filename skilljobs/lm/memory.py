"""What is done where memory does not hold a batch whole."""

from collections.abc import Callable
from typing import TypeVar

import torch

T = TypeVar("T")


def in_parts(batch: list[int], run: Callable[[list[int]], T]) -> list[tuple[list[int], T]]:
    """What `run` gives of a batch, or of its halves, and theirs, where it runs out of memory; each with its places."""
    try:
        return [(batch, run(batch))]
    except torch.OutOfMemoryError:
        if len(batch) == 1:
            raise
    torch.cuda.empty_cache()
    middle = len(batch) // 2
    return [part for half in (batch[:middle], batch[middle:]) for part in in_parts(half, run)]
