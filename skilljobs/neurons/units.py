"""What can be read of a model beside its neurons: heads, the residual stream, routers, features of an autoencoder.

Whatever is read has the columns of a neuron: `layer`, and `neuron` for its number there.
"""

from collections.abc import Callable, Sequence
from importlib.metadata import entry_points
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedModel

from skilljobs.errors import InputError
from skilljobs.neurons.experts import ExpertNeurons
from skilljobs.neurons.routers import router_beside, router_probabilities
from skilljobs.neurons.sae import SparseAutoencoder, read_autoencoder
from skilljobs.neurons.sites import Keep, LayerSites, ProjectionInput, Site, Window
from skilljobs.selection import NEURONS, SAE, UNITS_ENTRY_POINTS
from skilljobs.stats.neurons import LayerNeurons

ATTENTION_OUTPUTS = (
    "self_attn.o_proj", "self_attn.out_proj", "self_attn.dense", "self_attn.wo", "attn.c_proj", "attn.out_proj",
    "attn.Wo", "attn.attention.out_proj", "attention.dense", "attention.out_proj", "attention.wo",
    "self_attention.dense", "self_attention.o_proj", "attention.output.dense", "multi_head_attention.dense",
)  # fmt: skip
"""Where layers have the projection behind their attention heads."""

Find = Callable[[PreTrainedModel, Sequence[LayerSites]], list[LayerSites]]
"""Returns where a kind of units is read, given the layers of a model with the sites of their neurons.

It may leave layers out. This is what an entry point of the group `skilljobs.units` must be."""


def find_units(model: PreTrainedModel, layers: Sequence[LayerSites], units: str) -> list[LayerSites]:
    """Return where `units` are read in `layers`, whose neurons are known.

    Raises:
        InputError: the model does not have them, or there are no such units.
    """
    if units == NEURONS:
        return list(layers)
    found = _find(units)(model, layers)
    if not found:
        raise InputError(f"{type(model).__name__} has no {units} that are known")
    return found


def _find(units: str) -> Find:
    if units.startswith(SAE):
        return lambda model, layers: _features(model, layers, read_autoencoder(units.removeprefix(SAE)))
    if units in _BUILT_IN:
        return _BUILT_IN[units]
    for point in entry_points(group=UNITS_ENTRY_POINTS, name=units):
        try:
            find: Find = point.load()
        except Exception as error:
            raise InputError(f"the units {units!r} cannot be loaded from {point.value}: {error}") from error
        return find
    raise InputError(f"there are no units {units!r}")


class HeadNorms:
    """The norm of what each attention head hands to the projection behind the heads."""

    def __init__(self, projection: nn.Module, heads: int) -> None:
        self._projection, self._heads = projection, heads

    def read(self, window: Window, keep: Keep) -> RemovableHandle:
        """See `Site`."""

        def keep_norms(_: nn.Module, arguments: tuple[Any, ...]) -> None:
            heads = window.at_positions(arguments[0]).unflatten(-1, (self._heads, -1))
            keep(window.reduced(heads.double().norm(dim=-1)))

        return self._projection.register_forward_pre_hook(keep_norms)

    def output_direction(self, neuron: int) -> torch.Tensor | None:
        """See `Site`."""
        return None


class StreamCoordinates:
    """The residual stream behind a layer, or the features that `autoencoder` finds in it."""

    def __init__(self, layer: nn.Module, width: int, autoencoder: SparseAutoencoder | None = None) -> None:
        self._layer, self._width = layer, width
        self._autoencoder = autoencoder.to(next(layer.parameters()).device) if autoencoder else None

    def read(self, window: Window, keep: Keep) -> RemovableHandle:
        """See `Site`."""

        def keep_stream(_: nn.Module, __: tuple[Any, ...], output: Any) -> None:
            stream = window.at_positions(output[0] if isinstance(output, tuple) else output)
            keep(window.reduced(stream if self._autoencoder is None else self._autoencoder.encode(stream)))

        return self._layer.register_forward_hook(keep_stream)

    def output_direction(self, neuron: int) -> torch.Tensor | None:
        """See `Site`."""
        if self._autoencoder is not None:
            return self._autoencoder.direction(neuron)
        return nn.functional.one_hot(torch.tensor(neuron), self._width).float()


class RouterProbabilities:
    """The probability that a router gives to each expert, chosen or not."""

    def __init__(self, router: nn.Module, probabilities: Callable[[torch.Tensor], torch.Tensor]) -> None:
        self._router, self._probabilities = router, probabilities

    def read(self, window: Window, keep: Keep) -> RemovableHandle:
        """See `Site`."""

        def keep_probabilities(_: nn.Module, __: tuple[Any, ...], output: tuple[torch.Tensor, ...]) -> None:
            keep(window.kept(self._probabilities(output[0].float())))

        return self._router.register_forward_hook(keep_probabilities)

    def output_direction(self, neuron: int) -> torch.Tensor | None:
        """See `Site`."""
        return None


def _heads(model: PreTrainedModel, layers: Sequence[LayerSites]) -> list[LayerSites]:
    config = model.config.get_text_config()
    found = []
    for layer in layers:
        modules = dict(layer.module.named_modules())
        paths = [path for path in ATTENTION_OUTPUTS if path in modules]
        if len(paths) > 1:
            raise InputError(f"{type(model).__name__} has several attentions in a layer ({', '.join(paths)})")
        if paths:
            projection, heads = modules[paths[0]], config.num_attention_heads
            if ProjectionInput(projection).width % heads:
                raise InputError(f"{type(model).__name__}: {paths[0]} cannot be divided among {heads} heads")
            found.append(_read_at(layer, heads, HeadNorms(projection, heads)))
    return found


def _residual(model: PreTrainedModel, layers: Sequence[LayerSites]) -> list[LayerSites]:
    width = model.config.get_text_config().hidden_size
    return [_read_at(layer, width, StreamCoordinates(layer.module, width)) for layer in layers]


def _experts(model: PreTrainedModel, layers: Sequence[LayerSites]) -> list[LayerSites]:
    found = []
    for layer in layers:
        for site in layer.sites:
            if isinstance(site, ExpertNeurons):
                router = router_beside(layer.module, site)
                probabilities = router_probabilities(router, model.config.get_text_config().hidden_size)
                found.append(_read_at(layer, site.count, RouterProbabilities(router, probabilities)))
    return found


def _features(model: PreTrainedModel, layers: Sequence[LayerSites], autoencoder: SparseAutoencoder) -> list[LayerSites]:
    width = model.config.get_text_config().hidden_size
    if autoencoder.width != width:
        raise InputError(f"the autoencoder reads a stream of {autoencoder.width}, and d_model of the model is {width}")
    if autoencoder.layer >= len(layers):
        raise InputError(f"the autoencoder is of layer {autoencoder.layer}, and the model has {len(layers)} layers")
    layer = layers[autoencoder.layer]
    site = StreamCoordinates(layer.module, autoencoder.width, autoencoder)
    return [_read_at(layer, autoencoder.features, site)]


def _read_at(layer: LayerSites, count: int, site: Site) -> LayerSites:
    return LayerSites(layer.module, LayerNeurons(layer.neurons.layer, count), (site,))


_BUILT_IN: dict[str, Find] = {"heads": _heads, "residual": _residual, "experts": _experts}
