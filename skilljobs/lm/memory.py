"""What is done where memory does not hold something whole."""

from collections.abc import Callable
from typing import TypeVar

import torch

from skilljobs import machine
from skilljobs.errors import JobFailed

T = TypeVar("T")

OF_CPU = "DefaultCPUAllocator: can't allocate memory"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether torch could not take memory: on a CPU that has no type of its own."""
    return isinstance(error, torch.OutOfMemoryError) or (isinstance(error, RuntimeError) and OF_CPU in str(error))


def in_parts(batch: list[int], run: Callable[[list[int]], T]) -> list[tuple[list[int], T]]:
    """What `run` gives of a batch, or of its halves, and theirs, where it runs out of memory; each with its places.

    Raises:
        JobFailed: memory does not hold even one example.
    """
    try:
        return [(batch, run(batch))]
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        if len(batch) == 1:
            raise JobFailed(
                f"memory does not hold the model and one example ({str(error).partition('. ')[0]}):"
                " try --dtype bfloat16, or --gpus-per-replica for a model over several GPUs"
            ) from error
    torch.cuda.empty_cache()
    middle = len(batch) // 2
    return [part for half in (batch[:middle], batch[middle:]) for part in in_parts(half, run)]


def free_memory(device: torch.device) -> int:
    """Bytes that tensors on `device` may still take."""
    if device.type != "cuda":
        return machine.free_memory()
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + kept
