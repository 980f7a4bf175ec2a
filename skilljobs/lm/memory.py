"""Handling work that does not fit in memory."""

from collections.abc import Callable, Iterator
from typing import TypeVar

import torch

from skilljobs import machine
from skilljobs.errors import JobFailed
from skilljobs.lm.ranks import in_step

T = TypeVar("T")

CPU_ERROR = "DefaultCPUAllocator: can't allocate memory"


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether `error` says that torch failed to allocate memory. On a CPU, it has no type of its own."""
    return isinstance(error, torch.OutOfMemoryError) or (isinstance(error, RuntimeError) and CPU_ERROR in str(error))


def in_parts(batch: list[int], run: Callable[[list[int]], T]) -> Iterator[tuple[list[int], T]]:
    """Call `run` on a batch, and on its halves (and theirs in turn) where it runs out of memory.

    Yields each part with the result of `run` on it. A part is run only when the caller asks for it, and its result is
    not held here after that.

    Raises:
        JobFailed: There is not enough memory even for one example, or several ranks hold the model together.
    """
    pending = [batch]
    while pending:
        part = pending.pop()
        try:
            result = run(part)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            if in_step():
                raise JobFailed(
                    f"a batch of {len(part)} does not fit into the memory of one of several ranks, which cannot split"
                    " it each by itself: use a smaller --batch-tokens, in a new run"
                ) from error
            if len(part) == 1:
                raise JobFailed(_out_of_memory_message(error)) from error
        else:
            yield part, result
            del result
            continue
        torch.cuda.empty_cache()
        middle = len(part) // 2
        pending += [part[middle:], part[:middle]]


def free_memory(device: torch.device) -> int:
    """Return the number of bytes that tensors on `device` may still take."""
    if device.type != "cuda":
        return machine.free_memory()
    reusable = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + reusable


def _out_of_memory_message(error: RuntimeError) -> str:
    reason = str(error)
    reason = reason[reason.find("DefaultCPUAllocator") :] if CPU_ERROR in reason else reason.partition(". ")[0]
    also = " or --gpus-per-replica for a model over several GPUs" if isinstance(error, torch.OutOfMemoryError) else ""
    return f"not enough memory for the model and one example ({reason.strip()}): try --dtype bfloat16{also}"
