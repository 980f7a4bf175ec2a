"""The tokens that a neuron promotes: its column of the down projection, read through the final norm and the LM head.

The effects are computed from the weights alone, without any text (Geva et al. 2022, "Transformer Feed-Forward Layers
Build Predictions by Promoting Concepts in the Vocabulary Space", arXiv 2203.14680). The norm that some models (Gemma,
OLMo 2) have after the down projection is included. The effects of later layers, a bias of the head and a cap on logits
are not.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import nn

from skilljobs.lm.model import FrozenLM
from skilljobs.lm.results import TokenEffect
from skilljobs.neurons.experts import ExpertNeurons
from skilljobs.neurons.sites import ProjectionInput
from skilljobs.stats.neurons import NeuronName

FINAL_NORMS = ("norm", "ln_f", "final_layer_norm", "final_layernorm")
POST_FFN_NORM = "post_feedforward_layernorm"
NEURONS_AT_ONCE = 32


@torch.inference_mode()
def token_effects(lm: FrozenLM, neurons: Sequence[NeuronName], k: int) -> list[TokenEffect]:
    """Return, for each of `neurons`, the `k` tokens that it promotes most, then the `k` that it suppresses most.

    Units whose activation has no direction of its own (heads, routers) are left out.
    """
    norm = _final_norm(lm)
    vocabulary = min(len(lm.head.weight), len(lm.tokenizer))
    head = replace(lm.head, softcap=None, bias=None)
    effects: list[TokenEffect] = []
    directed = [(neuron, direction) for neuron in neurons if (direction := _output_direction(lm, neuron)) is not None]
    for start in range(0, len(directed), NEURONS_AT_ONCE):
        chunk = directed[start : start + NEURONS_AT_ONCE]
        directions = torch.stack([direction.to(lm.head.weight) for _, direction in chunk])
        normed = norm(directions) - norm(torch.zeros_like(directions))
        states = head.states(normed) - head.states(torch.zeros_like(normed))
        logits = head.logits(states)[:, :vocabulary]
        logits -= logits.mean(1, keepdim=True)
        for (neuron, _), row in zip(chunk, logits, strict=True):
            for extremes in (row.topk(min(k, vocabulary)), row.topk(min(k, vocabulary), largest=False)):
                for logit, token in zip(extremes.values.tolist(), extremes.indices.tolist(), strict=True):
                    effects.append(
                        TokenEffect(
                            neuron.layer, neuron.expert, neuron.neuron, str(lm.tokenizer.decode([token])), logit
                        )
                    )
    return effects


def _output_direction(lm: FrozenLM, neuron: NeuronName) -> torch.Tensor | None:
    """Return the direction in which a positive activation moves the residual stream, a vector of d_model, if known."""
    number, place = lm.place(neuron)
    layer = lm.sites[number]
    site = layer.sites[0 if neuron.expert is None else -1]
    column = site.output_direction(place if neuron.expert is None else place - layer.neurons.dense)
    norm = getattr(layer.module, POST_FFN_NORM, None)
    is_in_ffn = isinstance(site, ProjectionInput | ExpertNeurons)
    return norm(column) if column is not None and is_in_ffn and isinstance(norm, nn.Module) else column


def _final_norm(lm: FrozenLM) -> nn.Module:
    """Return the model's final norm, or the identity if it has none.

    A norm ignores the scale of its input, so applied to a single direction only its effect on coordinates matters.
    """
    for name in FINAL_NORMS:
        norm = getattr(lm.body, name, None)
        if isinstance(norm, nn.Module):
            return norm
    return nn.Identity()
