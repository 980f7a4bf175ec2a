"""The routers of mixtures of experts: which module it is, and what makes probabilities of its logits."""

import re
from collections.abc import Callable

import torch
from torch import nn

from skilljobs.errors import InputError
from skilljobs.neurons.experts import ExpertNeurons

ROUTER_TOLERANCE = 0.01
"""Allowed difference of the shares that experts have of a token; low precision rounds them."""
_ROUTER = re.compile(r"(router|gate)$")


def is_router(name: str) -> bool:
    """Whether a submodule of this name decides which experts a token is sent to."""
    return _ROUTER.search(name) is not None


def router_beside(layer: nn.Module, site: ExpertNeurons) -> nn.Module:
    """Return the router of a layer's experts.

    Raises:
        InputError: it is not known.
    """
    for parent in layer.modules():
        if any(child is site.module for child in parent.children()):
            for name, child in parent.named_children():
                if is_router(name) and type(child) is not nn.Linear:
                    return child
    raise InputError("the router of the experts is not known: --units experts cannot read it")


@torch.inference_mode()
def router_probabilities(router: nn.Module, width: int) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return what makes probabilities of a router's logits: a softmax over all experts, or a sigmoid of each.

    It is found out from the weights that the router gives to the experts that it chooses.

    Raises:
        InputError: they fit neither.
    """
    parameter = next(router.parameters())
    hidden = torch.randn(64, width, generator=torch.Generator().manual_seed(0)).to(parameter.device, parameter.dtype)
    try:
        logits, weights, chosen = router(hidden)
        fitting = [
            probabilities
            for probabilities in (_softmax, torch.sigmoid)
            if _are_proportional(probabilities(logits.float()).gather(1, chosen), weights.float())
        ]
    except (TypeError, ValueError, RuntimeError, IndexError):
        fitting = []
    if len(fitting) != 1:
        raise InputError(f"how {type(router).__name__} makes probabilities of its logits is not known")
    return fitting[0]


def _softmax(logits: torch.Tensor) -> torch.Tensor:
    return torch.softmax(logits, -1)


def _are_proportional(probabilities: torch.Tensor, weights: torch.Tensor) -> bool:
    """Whether each row of `weights` is that of `probabilities`, up to a factor."""
    shares, expected = (values / values.sum(1, keepdim=True) for values in (weights, probabilities))
    return weights.shape[1] > 1 and bool((shares - expected).abs().max() < ROUTER_TOLERANCE)
