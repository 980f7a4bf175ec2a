"""Gradients that keep little: each layer keeps its input alone, and computes the rest again for its backward pass
(Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost", arXiv 1604.06174).
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.checkpoint import checkpoint
from transformers import Cache


class ReadOnlyCache(Cache):  # type: ignore[misc]
    """What was read of the texts. What stands behind is attended to and not kept, so that a layer may run again."""

    def __init__(self, cache: Cache) -> None:
        super().__init__(layers=cache.layers)

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        layer = self.layers[layer_idx]
        return torch.cat([layer.keys, key_states], -2), torch.cat([layer.values, value_states], -2)


@contextmanager
def recomputed(layers: Sequence[nn.Module]) -> Iterator[None]:
    """Forwards inside the block keep the inputs of `layers` alone. Whatever else these change happens twice."""
    own = [vars(layer).get("forward") for layer in layers]
    for layer in layers:
        layer.forward = partial(checkpoint, layer.forward, use_reentrant=False, preserve_rng_state=False)
    try:
        yield
    finally:
        for layer, forward in zip(layers, own, strict=True):
            if forward is None:
                del layer.forward
            else:
                layer.forward = forward


def bytes_kept(model: nn.Module, run: Callable[[], torch.Tensor]) -> int:
    """Memory that `run` keeps for the gradient of what it returns, the weights of `model` apart."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        result = run()
    del result
    return sum(size for place, size in kept.items() if place not in weights)
