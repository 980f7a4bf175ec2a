"""Whether a model can be shared among ranks, told from its configuration, and how transformers is to share it.

Embeddings and LM head are held whole by every rank: scoring reads their weights directly.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.distributed import DistributedConfig

from skilljobs.checkpoints.source import ModelSource
from skilljobs.errors import InputError
from skilljobs.lm.outline import outline
from skilljobs.lm.ranks import Ranks
from skilljobs.neurons.shares import projections_of, refuse_no_partition, shares_of_rank
from skilljobs.neurons.sites import LayerSites
from skilljobs.selection import NEURONS
from skilljobs.spec import JobSpec

STYLES = frozenset(
    {
        "colwise", "colwise_gather_output", "rowwise", "rowwise_split_input", "packed_colwise", "moe_tp_experts",
        "replicated_with_grad_allreduce", "embedding_rowwise", "replicate",
    }
)  # fmt: skip
"""The ways of sharing a module that have been compared with a model in one process."""
WHOLE = "replicate"


def check_shareable(source: ModelSource, spec: JobSpec) -> None:
    """Refuse, before any weight is read, a model or options that `spec.tensor_parallel` ranks cannot work on.

    Raises:
        InputError: says which, and why.
    """
    ranks, option = spec.tensor_parallel, f"--tensor-parallel {spec.tensor_parallel}"
    for other, is_given in (
        (f"--quantize {spec.quantize}", spec.quantize is not None),
        ("--adapter", spec.adapter is not None),
        ("--trust-remote-code", spec.trust_remote_code),
        (f"--units {spec.units}", spec.units != NEURONS),
        (f"--statistic {spec.statistic}", spec.statistic != "r"),
    ):
        if is_given:
            raise InputError(f"{option} shares the weights and neurons of a plain model: it does not go with {other}")
    if source.is_masked:
        raise InputError(f"{option}: the model {source.name} is a masked language model, which ranks do not share")
    model = outline(source)
    name, config = type(model).__name__, model.config.get_text_config()
    plan = model.tp_plan or {}
    shared = {key: style for key, style in plan.items() if key not in _whole_modules(model)}
    if not shared:
        raise InputError(f"{option}: transformers has no plan for sharing a {name} among ranks")
    unknown = sorted(set(shared.values()) - STYLES)
    if unknown:
        raise InputError(
            f"{option}: transformers shares a {name} in ways that have not been tried ({', '.join(unknown)})"
        )
    for attribute, what in (
        ("num_attention_heads", "attention heads"),
        ("num_key_value_heads", "key-value heads"),
        ("intermediate_size", "neurons of a layer"),
        ("moe_intermediate_size", "neurons of an expert"),
        ("shared_expert_intermediate_size", "neurons of a shared expert"),
    ):
        value = getattr(config, attribute, None)
        for count in value if isinstance(value, list | tuple) else [value]:
            if isinstance(count, int) and count % ranks:
                raise InputError(f"{option}: the model {source.name} has {count} {what}, which {ranks} does not divide")


def sharing_options(source: ModelSource, ranks: int) -> dict[str, Any]:
    """The options of `from_pretrained` that share a model among `ranks` ranks, which have met."""
    whole = dict.fromkeys(_whole_modules(outline(source)), WHOLE)
    return {"distributed_config": DistributedConfig(tp_size=ranks, tp_plan=whole)}


@torch.inference_mode()
def sites_of_rank(
    body: nn.Module, layers: Sequence[LayerSites], ranks: Ranks, device: torch.device
) -> list[LayerSites]:
    """The sites of this rank's neurons, of a model whose layers are `layers`.

    Raises:
        InputError: it is not known which they are, or not every neuron belongs to one rank.
    """
    entering: dict[nn.Module, int] = {}

    def note_width(module: nn.Module, arguments: tuple[torch.Tensor, ...]) -> None:
        entering[module] = arguments[0].shape[-1]

    handles = [module.register_forward_pre_hook(note_width) for module in projections_of(layers)]
    body(torch.tensor([[0, 1, 2]], device=device), use_cache=False)
    for handle in handles:
        handle.remove()
    shares = shares_of_rank(layers, entering, ranks.is_first)
    refuse_no_partition(ranks.everyones([layer.places for layer in shares]), shares)
    return shares


def _whole_modules(model: PreTrainedModel) -> list[str]:
    """The paths of embeddings and LM head."""
    whole = (model.get_input_embeddings(), model.get_output_embeddings())
    return [path for path, module in model.named_modules() if any(module is one for one in whole)]
