"""Tensors between host and device, such that neither waits for the other.

A plain copy to or from a GPU waits for all that was given to it before; then it idles while the host prepares more.
"""

from collections.abc import Sequence

import torch


def to_device(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """`tensor`, which is on the host, on `device`, without waiting for what that is doing."""
    if device.type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


class HostCopy:
    """A small tensor on its way to the host; what the device is given later is not waited for."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self._done: torch.cuda.Event | None = None
        self._tensor = tensor
        if tensor.is_cuda:
            self._tensor = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
            self._tensor.copy_(tensor, non_blocking=True)
            self._done = _reached(tensor.device)

    def wait(self) -> torch.Tensor:
        """The tensor, once it has come."""
        if self._done is not None:
            self._done.synchronize()
        return self._tensor.cpu()


class LaterCopy:
    """Large tensors of one device that whoever waits for them copies, while that goes on with what it is given later.

    They must not change any more. Their memory is held until then, and no pinned one, which torch never gives back.
    """

    def __init__(self, tensors: Sequence[torch.Tensor]) -> None:
        self._tensors = list(tensors)
        self._ready = _reached(tensors[0].device) if tensors[0].is_cuda else None

    def wait(self) -> list[torch.Tensor]:
        """The tensors on the host. To be called once."""
        tensors, self._tensors = self._tensors, []
        if self._ready is None:
            return [tensor.cpu() for tensor in tensors]
        beside = torch.cuda.Stream(tensors[0].device)
        beside.wait_event(self._ready)
        with torch.cuda.stream(beside):
            return [tensor.cpu() for tensor in tensors]


def _reached(device: torch.device) -> torch.cuda.Event:
    """An event behind all that the device has been given so far."""
    event: torch.cuda.Event = torch.cuda.current_stream(device).record_event()
    return event
