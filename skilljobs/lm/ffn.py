"""Locating the neurons of each architecture: they are the inputs of the FFN's down projection."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import nn

from skilljobs.errors import InputError
from skilljobs.lm.checkpoint import EXPERT

TokenMode = Literal["mean", "each", "last"]

DOWN_PROJECTIONS = (
    "mlp.down_proj",  # Llama, Gemma, Qwen, Mistral, Phi-3, OLMo, Cohere, Granite, SmolLM
    "mlp.c_proj",  # GPT-2, GPT-BigCode, StarCoder2
    "mlp.dense_4h_to_h",  # GPT-NeoX, Pythia, BLOOM, Falcon
    "mlp.fc_out",  # GPT-J
    "mlp.fc2",  # Phi
    "fc2",  # OPT, XGLM, BioGPT
    "ffn.down_proj",  # MPT
    "feed_forward.w2",  # LFM2
    "mlp.Wo",  # ModernBERT as a decoder
    "ffn.2",  # CTRL
)


def layers_with_projections(model: nn.Module) -> list[tuple[nn.Module, nn.Module]]:
    """Return every layer together with its down projection, in order.

    Raises:
        InputError: The architecture is not known, or a layer is a mixture of experts.
    """
    config = model.config.get_text_config()  # type: ignore[union-attr, operator]
    count = config.num_hidden_layers
    for stack in model.modules():
        if isinstance(stack, nn.ModuleList) and len(stack) == count:
            for name in DOWN_PROJECTIONS:
                modules = [_submodule(layer, name) for layer in stack]
                pairs = [(layer, module) for layer, module in zip(stack, modules, strict=True) if module is not None]
                if len(pairs) == count:
                    _refuse_experts(model, stack)
                    return pairs
            _refuse_experts(model, stack)
    raise InputError(
        f"{type(model).__name__}: no FFN down projection found in its layers under any of {', '.join(DOWN_PROJECTIONS)}"
    )


def _refuse_experts(model: nn.Module, layers: nn.ModuleList) -> None:
    """Refuse layers with experts, whose neurons would be missing from the results, beside those of a dense FFN too."""
    for number, layer in enumerate(layers):
        for name, _ in layer.named_modules():
            if EXPERT in name.lower():
                raise InputError(
                    f"{type(model).__name__} is a mixture of experts (layer {number} has {name}):"
                    " the neurons of experts are not read yet"
                )


def down_projections(model: nn.Module) -> list[nn.Module]:
    """Return the down projection of every layer, in order.

    Raises:
        InputError: The architecture is not known, or a layer is a mixture of experts.
    """
    return [projection for _, projection in layers_with_projections(model)]


def _submodule(layer: nn.Module, name: str) -> nn.Module | None:
    try:
        return layer.get_submodule(name)
    except AttributeError:
        return None


def neuron_count(projection: nn.Module) -> int:
    """Return the number of neurons of a layer, which is the input width of its down projection."""
    in_features = getattr(projection, "in_features", None)
    return int(in_features if in_features is not None else projection.weight.shape[0])  # type: ignore[union-attr, index]


@contextmanager
def capture_activations(
    projections: list[nn.Module], positions: slice, tokens: TokenMode
) -> Iterator[list[torch.Tensor]]:
    """Capture every neuron's activation at `positions` in the first forward pass inside the block.

    That pass fills the list that the context manager returns with one float64 tensor per layer: batch x tokens x
    neurons, with one token unless `tokens` is `each`. Values are converted to float64 before they are averaged.

    Raises:
        InputError: The input of an FFN's down projection is not batch x positions x neurons.
    """
    captured: list[torch.Tensor] = []

    def capture_input(_: nn.Module, arguments: tuple[Any, ...]) -> None:
        if arguments[0].ndim != 3:
            raise InputError("the FFN's input is not batch x positions x neurons: this architecture is not supported")
        if len(captured) == len(projections):
            return
        activations = arguments[0][:, positions]
        match tokens:
            case "mean":
                captured.append(activations.mean(1, keepdim=True, dtype=torch.float64))
            case "last":
                captured.append(activations[:, -1:].double())
            case "each":
                captured.append(activations.double())

    handles = [projection.register_forward_pre_hook(capture_input) for projection in projections]
    try:
        yield captured
    finally:
        for handle in handles:
            handle.remove()
