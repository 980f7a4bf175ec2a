"""Where each architecture keeps its neurons: at the input of the FFN's down projection."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import nn

from skilljobs.errors import InputError

TokenMode = Literal["mean", "each", "last"]

DOWN_PROJECTIONS = (
    "mlp.down_proj",  # Llama, Gemma, Qwen, Mistral, Phi-3, OLMo, Cohere, Granite, SmolLM
    "mlp.c_proj",  # GPT-2, GPT-BigCode, StarCoder2
    "mlp.dense_4h_to_h",  # GPT-NeoX, Pythia, BLOOM, Falcon
    "mlp.fc_out",  # GPT-J
    "mlp.fc2",  # Phi
)


def layers_with_projections(model: nn.Module) -> list[tuple[nn.Module, nn.Module]]:
    """Every layer with its down projection, in order.

    Raises:
        InputError: the architecture is not known, or a layer is a mixture of experts.
    """
    count = model.config.num_hidden_layers  # type: ignore[union-attr]
    for stack in model.modules():
        if isinstance(stack, nn.ModuleList) and len(stack) == count:
            for name in DOWN_PROJECTIONS:
                found = [_submodule(layer, name) for layer in stack]
                pairs = [(layer, module) for layer, module in zip(stack, found, strict=True) if module is not None]
                if len(pairs) == count:
                    return pairs
    raise InputError(
        f"{type(model).__name__}: no FFN down projection found in its layers under any of {', '.join(DOWN_PROJECTIONS)}"
    )


def down_projections(model: nn.Module) -> list[nn.Module]:
    """The down projection of every layer, in order; errors as above."""
    return [projection for _, projection in layers_with_projections(model)]


def _submodule(layer: nn.Module, name: str) -> nn.Module | None:
    try:
        return layer.get_submodule(name)
    except AttributeError:
        return None


def neuron_count(projection: nn.Module) -> int:
    """Neurons of a layer: the down projection's input width."""
    in_features = getattr(projection, "in_features", None)
    return int(in_features if in_features is not None else projection.weight.shape[0])  # type: ignore[union-attr, index]


@contextmanager
def neurons_read(projections: list[nn.Module], positions: slice, tokens: TokenMode) -> Iterator[list[torch.Tensor]]:
    """Collect, from the first forward inside the block, every neuron's activation at `positions`.

    The list it gives holds a float64 tensor a layer afterwards: batch x tokens x neurons, with one token unless
    `tokens` is `each`. Float32 is widened before it is averaged.
    """
    read: list[torch.Tensor] = []

    def read_input(_: nn.Module, arguments: tuple[Any, ...]) -> None:
        if arguments[0].ndim != 3:
            raise InputError("the FFN's input is not batch x positions x neurons: this architecture is not supported")
        if len(read) == len(projections):
            return
        at = arguments[0][:, positions]
        match tokens:
            case "mean":
                read.append(at.mean(1, keepdim=True, dtype=torch.float64))
            case "last":
                read.append(at[:, -1:].double())
            case "each":
                read.append(at.double())

    handles = [projection.register_forward_pre_hook(read_input) for projection in projections]
    try:
        yield read
    finally:
        for handle in handles:
            handle.remove()
