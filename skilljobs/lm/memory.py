"""What is done where memory does not hold something whole."""

from collections.abc import Callable, Iterator
from typing import TypeVar

import torch

from skilljobs import machine
from skilljobs.errors import JobFailed

T = TypeVar("T")

OF_CPU = "DefaultCPUAllocator: can't allocate memory"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether torch could not take memory: on a CPU that has no type of its own."""
    return isinstance(error, torch.OutOfMemoryError) or (isinstance(error, RuntimeError) and OF_CPU in str(error))


def in_parts(batch: list[int], run: Callable[[list[int]], T]) -> Iterator[tuple[list[int], T]]:
    """What `run` gives of a batch, or of its halves, and theirs, where it runs out of memory; each with its places.

    A part is run when it is asked for, and nothing of it is held here then.

    Raises:
        JobFailed: memory does not hold even one example.
    """
    left = [batch]
    while left:
        part = left.pop()
        try:
            found = run(part)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            if len(part) == 1:
                raise JobFailed(_too_little(error)) from error
        else:
            yield part, found
            del found
            continue
        torch.cuda.empty_cache()
        middle = len(part) // 2
        left += [part[middle:], part[:middle]]


def free_memory(device: torch.device) -> int:
    """Bytes that tensors on `device` may still take."""
    if device.type != "cuda":
        return machine.free_memory()
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + kept


def _too_little(error: RuntimeError) -> str:
    reason = str(error)
    reason = reason[reason.find("DefaultCPUAllocator") :] if OF_CPU in reason else reason.partition(". ")[0]
    ways = " or --gpus-per-replica for a model over several GPUs" if isinstance(error, torch.OutOfMemoryError) else ""
    return f"memory does not hold the model and one example ({reason.strip()}): try --dtype bfloat16{ways}"
