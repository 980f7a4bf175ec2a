"""The processes that hold one model together (tensor parallelism), and what they tell each other.

All ranks make the same calls in the same order. Whatever a rank decides by what only it can see, its own neurons or its
own memory, is agreed upon here: ranks that took different ways would wait for each other in different places.
"""

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import distributed

PATIENCE = timedelta(minutes=10)
"""How long a rank waits for the others. They compute alike, so that only one that hangs is ever this late."""


@dataclass(frozen=True)
class Ranks:
    """One of `count` ranks, or a process by itself, for which every question is answered by its own answer."""

    rank: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this rank writes what all ranks know."""
        return self.rank == 0

    @property
    def are_several(self) -> bool:
        return self.count > 1

    def largest(self, value: float) -> float:
        """The largest `value` of any rank; NaN counts as infinite."""
        if not self.are_several:
            return value
        return max(float("inf") if other != other else other for other in self.everyones(value))

    def all(self, flags: torch.Tensor) -> torch.Tensor:
        """Where `flags` (bool) are true on all ranks."""
        if not self.are_several:
            return flags
        counts = flags.to(torch.int32)
        distributed.all_reduce(counts, distributed.ReduceOp.MIN)
        return counts.bool()

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """The sum of `values` over all ranks; the values of one rank where those of the others are 0."""
        if self.are_several:
            values = values.clone()
            distributed.all_reduce(values)
        return values

    def everyones(self, value: Any) -> list[Any]:
        """The `value` of every rank, in their order. It may be anything that can be pickled."""
        if not self.are_several:
            return [value]
        values: list[Any] = [None] * self.count
        distributed.all_gather_object(values, value)
        return values


ALONE = Ranks()


def in_step() -> bool:
    """Whether this process is one of several ranks, and so must not go ways of its own."""
    return distributed.is_available() and distributed.is_initialized()


def is_loss_of_rank(error: BaseException) -> bool:
    """Whether `error` says that another rank cannot be reached any more. That of gloo has no type of its own."""
    is_of_gloo = isinstance(error, RuntimeError) and any(word in str(error) for word in ("gloo", "onnection closed"))
    return isinstance(error, distributed.DistError) or (in_step() and is_of_gloo)


def join(rank: int, count: int, meeting_point: str, device: str) -> Ranks:
    """Meet the other ranks, which are on the same machine, at a file that none of them has used before."""
    if device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # transformers would take a GPU that it sees
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(count), "LOCAL_RANK": "0"}  # what transformers asks for
    if loopback := _loopback([name for _, name in socket.if_nameindex()]):
        os.environ["GLOO_SOCKET_IFNAME"] = os.environ["NCCL_SOCKET_IFNAME"] = loopback
    backend = "gloo" if device == "cpu" else "cpu:gloo,cuda:nccl"
    store = distributed.FileStore(meeting_point, count)  # type: ignore[attr-defined]
    distributed.init_process_group(backend, store=store, rank=rank, world_size=count, timeout=PATIENCE)
    return Ranks(rank, count)


def _loopback(interfaces: Sequence[str]) -> str | None:
    """The interface that only this machine reaches: what ranks tell each other is nobody else's."""
    return next((name for name in interfaces if name in ("lo", "lo0")), None)
