"""Finding the neurons of a model: the inputs of its down projections, those of experts included."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from torch import nn
from transformers import PreTrainedModel

from skilljobs.checkpoints.checkpoint import EXPERT
from skilljobs.errors import InputError
from skilljobs.neurons.architectures import DOWN_PROJECTIONS, SHARED_DOWN_PROJECTIONS
from skilljobs.neurons.experts import LLAMA4, ExpertNeurons, read_through_registry, uses_registry
from skilljobs.neurons.routers import is_router
from skilljobs.neurons.sites import LayerSites, ProjectionInput, Site
from skilljobs.selection import Selection, check_range, is_in
from skilljobs.stats.neurons import LayerNeurons

_DOWN_NAMES = frozenset(path.rsplit(".", 1)[-1] for path in (*DOWN_PROJECTIONS, *SHARED_DOWN_PROJECTIONS)) - {"dense"}
_ATTENTION = re.compile(r"(attn|attention)", re.IGNORECASE)


def find_neurons(model: PreTrainedModel, pattern: str | None = None) -> list[LayerSites]:
    """Return where the neurons of every layer are read, in order.

    `pattern` names the down projections, with `*` for the number of the layer, in place of the names that are known.

    Raises:
        InputError: the architecture is not known, a layer has more neurons than would be read, or `pattern` does not
            match one down projection in each layer.
    """
    name, count = type(model).__name__, model.config.get_text_config().num_hidden_layers
    if pattern is not None:
        return _matching(model, pattern, count)
    for stack in model.modules():
        if isinstance(stack, nn.ModuleList) and len(stack) == count:
            layers = [_layer_sites(name, number, layer) for number, layer in enumerate(stack)]
            if all(layer.sites for layer in layers):
                if any(isinstance(site, ExpertNeurons) for layer in layers for site in layer.sites):
                    read_through_registry(model)
                return layers
    raise InputError(
        f"{name}: no FFN down projection found in its layers under any of {', '.join(DOWN_PROJECTIONS)};"
        " --ffn 'model.layers.*.NAME' says where they are"
    )


def chosen_sites(layers: Sequence[LayerSites], selection: Selection, count: int) -> list[LayerSites]:
    """Return the layers of which something is read, with the neurons that are chosen. The model has `count` layers.

    Raises:
        InputError: a layer or an expert is chosen that the model does not have, or nothing is left to read.
    """
    experts = max((expert for layer in layers for expert in layer.neurons.experts), default=-1) + 1
    check_range("--layers", selection.layers, count)
    check_range("--experts", selection.experts, experts)
    chosen = []
    for layer in layers:
        if not is_in(selection.layers, layer.neurons.layer):
            continue
        sites, neurons = layer.sites, layer.neurons
        if selection.experts is not None:
            kept = tuple(expert for expert in neurons.experts if is_in(selection.experts, expert))
            sites = tuple(
                replace(site, chosen=kept) if isinstance(site, ExpertNeurons) else site
                for site in sites
                if kept or not isinstance(site, ExpertNeurons)
            )
            neurons = replace(neurons, experts=kept)
        if sites:
            chosen.append(LayerSites(layer.module, neurons, sites))
    if not chosen:
        raise InputError("--layers and --experts leave no neuron to read")
    return chosen


def _layer_sites(model_name: str, number: int, layer: nn.Module) -> LayerSites:
    """The sites of one layer; none if it has no name that is known."""
    modules = dict(layer.named_modules())
    dense = [path for path in (*DOWN_PROJECTIONS, *SHARED_DOWN_PROJECTIONS) if path in modules]
    experts = [path for path, module in modules.items() if uses_registry(module) or type(module).__name__ == LLAMA4]
    unknown = [path for path in modules if EXPERT in path.lower() and not _is_known(path, modules, dense, experts)]
    if unknown:
        raise InputError(
            f"{model_name} is a mixture of experts of a kind that is not read: layer {number} has {unknown[0]}"
        )
    others = [path for path in modules if _is_other_ffn(path, dense, experts)]
    if dense and (len(dense) > 1 or others):
        raise InputError(
            f"{model_name} has several FFNs in layer {number} ({', '.join([*dense, *others])}), which are not read"
        )
    if len(experts) > 1:
        raise InputError(f"{model_name} has several groups of experts in layer {number} ({', '.join(experts)})")
    projections = [ProjectionInput(modules[path]) for path in dense]
    groups = [ExpertNeurons(modules[path], tuple(range(len(modules[path].down_proj)))) for path in experts]  # type: ignore[arg-type]
    neurons = LayerNeurons(
        number,
        sum(projection.width for projection in projections),
        tuple(expert for group in groups for expert in group.chosen),
        sum(group.width for group in groups),
    )
    sites: tuple[Site, ...] = (*projections, *groups)
    return LayerSites(layer, neurons, sites)


def _is_known(path: str, modules: dict[str, nn.Module], dense: list[str], experts: list[str]) -> bool:
    """Whether a module with experts in its name is read, is a part of what is read, or only weighs it."""
    inside = any(path == group or path.startswith(f"{group}.") for group in experts)
    shared = any(found.startswith(f"{path}.") or path.startswith(found.rsplit(".", 1)[0]) for found in dense)
    return inside or shared or is_router(path) or isinstance(modules[path], nn.Identity)


def _is_other_ffn(path: str, dense: list[str], experts: list[str]) -> bool:
    """Whether a module is named like a down projection, and is none that is read or a part of attention or a norm."""
    parent, _, name = path.rpartition(".")
    if name not in _DOWN_NAMES or path in dense or _ATTENTION.search(parent) or "norm" in parent:
        return False
    return not any(path.startswith(f"{group}.") for group in experts)


def _matching(model: PreTrainedModel, pattern: str, count: int) -> list[LayerSites]:
    """The down projections that `pattern` names."""
    if pattern.count("*") != 1:
        raise InputError(f"--ffn {pattern!r} needs one *, which stands for the number of the layer")
    found = dict(_numbered(model, pattern))
    if not found:
        raise InputError(f"--ffn {pattern!r} matches no module of {type(model).__name__}: {_example(model)}")
    missing = sorted(set(range(count)) - found.keys())
    if missing or len(found) > count:
        raise InputError(
            f"--ffn {pattern!r} matches {len(found)} modules of {type(model).__name__}, which has {count} layers"
            + (f": none in layer {missing[0]}" if missing else "")
        )
    layers = []
    for number, module in sorted(found.items()):
        weight = getattr(module, "weight", None)
        if weight is None or getattr(weight, "ndim", 0) != 2:
            raise InputError(f"--ffn {pattern!r} matches a {type(module).__name__}, which is no down projection")
        site = ProjectionInput(module)
        width = model.config.get_text_config().hidden_size
        behind = getattr(module, "out_features", weight.numel() // site.width)
        if behind != width:
            raise InputError(
                f"--ffn {pattern!r} matches a {type(module).__name__} that is {behind} wide behind it:"
                f" a down projection leads to the stream, whose d_model is {width}"
            )
        layer = model.get_submodule(pattern[: pattern.index("*")] + str(number))
        layers.append(LayerSites(layer, LayerNeurons(number, site.width), (site,)))
    return layers


def _numbered(model: PreTrainedModel, pattern: str) -> Iterator[tuple[int, nn.Module]]:
    before, after = pattern.split("*")
    expression = re.compile(re.escape(before) + r"(\d+)" + re.escape(after))
    for path, module in model.named_modules():
        match = expression.fullmatch(path)
        if match:
            yield int(match[1]), module


def _example(model: PreTrainedModel) -> str:
    """A module that may be meant."""
    linear = [path for path, module in model.named_modules() if isinstance(module, nn.Linear)]
    shown = [re.sub(r"\.\d+\.", ".*.", path, count=1) for path in linear if re.search(r"\.\d+\.", path)]
    return "its layers have " + ", ".join(list(dict.fromkeys(shown))[:6]) if shown else "it has no numbered layers"
