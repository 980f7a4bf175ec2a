"""Activation checkpointing: each layer keeps only its input and computes the rest again for its backward pass.

Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost", arXiv 1604.06174.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks
from torch.distributed.tensor import DTensor
from torch.utils.checkpoint import checkpoint
from transformers import Cache


class ReadOnlyCache(Cache):  # type: ignore[misc]
    """A cache of the texts that does not grow.

    The keys and values of later tokens are attended to but not stored, so that a layer can run again.
    """

    def __init__(self, cache: Cache) -> None:
        super().__init__(layers=cache.layers)

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        layer = self.layers[layer_idx]
        return torch.cat([layer.keys, key_states], -2), torch.cat([layer.values, value_states], -2)


@contextmanager
def activation_checkpointing(layers: Sequence[nn.Module]) -> Iterator[None]:
    """Make forward passes inside the block keep only the inputs of `layers`.

    The layers run again for the backward pass, so any side effect of theirs happens twice.
    """
    originals = [vars(layer).get("forward") for layer in layers]
    for layer in layers:
        layer.forward = partial(checkpoint, layer.forward, use_reentrant=False, preserve_rng_state=False)
    try:
        yield
    finally:
        for layer, forward in zip(layers, originals, strict=True):
            if forward is None:
                del layer.forward
            else:
                layer.forward = forward


def bytes_kept(model: nn.Module, run: Callable[[], torch.Tensor]) -> int:
    """Return the bytes that `run` keeps for the gradient of its result, not counting the weights of `model`."""
    weights = {_storage(parameter).data_ptr() for parameter in model.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = _storage(tensor)
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        result = run()
    del result
    return sum(size for address, size in kept.items() if address not in weights)


def _storage(tensor: torch.Tensor) -> torch.UntypedStorage:
    """What holds a tensor's numbers in this process: those of a part of it, if several ranks share it."""
    return (tensor.to_local() if isinstance(tensor, DTensor) else tensor).untyped_storage()
