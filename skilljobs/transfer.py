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
    """Copies of tensors of one device on their way to the host; what the device is given later is not waited for."""

    def __init__(self, tensors: Sequence[torch.Tensor]) -> None:
        self._done: torch.cuda.Event | None = None
        if tensors[0].is_cuda:
            there = [torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True) for tensor in tensors]
            for copy, tensor in zip(there, tensors, strict=True):
                copy.copy_(tensor, non_blocking=True)
            self._done = torch.cuda.current_stream(tensors[0].device).record_event()
            tensors = there
        self._tensors = list(tensors)

    def wait(self) -> list[torch.Tensor]:
        """The tensors, once they have come."""
        if self._done is not None:
            self._done.synchronize()
        return [tensor.cpu() for tensor in self._tensors]
