"""Which neurons a rank reads of a model that several ranks hold together, taken from how its weights are laid out."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.distributed.tensor import DTensor, Shard
from torch.utils.hooks import RemovableHandle

from skilljobs.errors import InputError
from skilljobs.neurons.experts import LLAMA4, ExpertNeurons
from skilljobs.neurons.sites import Keep, LayerSites, ProjectionInput, Site, Window

Places = NDArray[np.int64]
"""Places of neurons in arrays over all neurons of a layer."""


def shares_of_rank(layers: Sequence[LayerSites], entering: dict[nn.Module, int], is_first: bool) -> list[LayerSites]:
    """The layers, in which sites give this rank's neurons alone; `places` says which they are.

    A neuron belongs to the rank that holds its column of the down projection, and where each rank sees all neurons, to
    the first one.

    Args:
        entering: how many neurons enter each down projection here.

    Raises:
        InputError: the weights are laid out in a way that is not known.
    """
    return [_share(layer, entering, is_first) for layer in layers]


def projections_of(layers: Sequence[LayerSites]) -> list[nn.Module]:
    """The modules of which it must be known how many neurons enter them."""
    return [site.projection for layer in layers for site in layer.sites if isinstance(site, ProjectionInput)]


def refuse_no_partition(shares: Sequence[Sequence[Places]], layers: Sequence[LayerSites]) -> None:
    """Check that every neuron of every layer belongs to exactly one rank. `shares` holds the places of each rank.

    Raises:
        InputError: it does not.
    """
    for number, layer in enumerate(layers):
        found = np.sort(np.concatenate([share[number] for share in shares]))
        if not np.array_equal(found, np.arange(layer.neurons.count)):
            raise InputError(
                f"the ranks do not share the {layer.neurons} of layer {layer.neurons.layer} so that each belongs to one"
            )


def _share(layer: LayerSites, entering: dict[nn.Module, int], is_first: bool) -> LayerSites:
    sites: list[Site] = []
    places: list[Places] = []
    start = 0
    for site in layer.sites:
        if isinstance(site, ProjectionInput):
            count, (first, last) = site.width, _range_of(site, entering, layer)
            within = np.arange(first, last)
        elif isinstance(site, ExpertNeurons) and type(site.module).__name__ != LLAMA4:
            count, (first, last) = (
                len(site.chosen) * site.width,
                _held(site.down, 1 if site.is_transposed else 2, layer),
            )
            within = np.add.outer(np.arange(len(site.chosen)) * site.width, np.arange(first, last)).ravel()
        else:
            raise InputError(f"how several ranks share the neurons of {type(site).__name__} is not known")
        if last - first == site.width and not is_first:
            sites.append(OthersNeurons(site))
            within = within[:0]
        else:
            sites.append(site)
        places.append(start + within)
        start += count
    return replace(layer, sites=tuple(sites), places=np.concatenate(places).astype(np.int64))


def _range_of(site: ProjectionInput, entering: dict[nn.Module, int], layer: LayerSites) -> tuple[int, int]:
    """The neurons that enter a down projection here: all, or those whose columns this rank holds."""
    seen = entering[site.projection]
    if seen == site.width:
        return 0, seen
    first, last = _held(site.projection.weight, 1, layer)  # type: ignore[arg-type]
    if last - first != seen:
        raise InputError(
            f"{seen} neurons enter the down projection of layer {layer.neurons.layer}, and this rank has {last - first}"
        )
    return first, last


def _held(weight: torch.Tensor, dimension: int, layer: LayerSites) -> tuple[int, int]:
    """The range of `weight` along `dimension` that this rank holds."""
    whole = weight.shape[dimension]
    if not isinstance(weight, DTensor):
        return 0, whole
    placement, mesh = weight.placements[0], weight.device_mesh
    held = weight.to_local().shape[dimension]
    is_even = type(placement) is Shard and placement.dim % weight.ndim == dimension and held * mesh.size() == whole
    if len(weight.placements) != 1 or not is_even:
        raise InputError(
            f"the down projection of layer {layer.neurons.layer} is laid out over the ranks as {weight.placements},"
            " in which no range of its neurons is known"
        )
    first = mesh.get_local_rank() * held
    return first, first + held


class OthersNeurons:
    """A site all of whose neurons another rank gives."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def read(self, window: Window, keep: Keep) -> RemovableHandle:
        """See `Site`. Keeps none of the neurons, but the shape of the pass."""
        return self._site.read(window, lambda values: keep(values[..., :0]))

    def output_direction(self, neuron: int) -> torch.Tensor | None:
        """See `Site`."""
        return self._site.output_direction(neuron)
