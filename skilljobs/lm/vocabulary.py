"""What a neuron writes, read as tokens: its column of the down projection through final norm and LM head.

From weights alone, with no text (Geva et al. 2022, "Transformer Feed-Forward Layers Build Predictions by Promoting
Concepts in the Vocabulary Space", arXiv 2203.14680), with the norm that some models (Gemma, OLMo 2) have behind the
down projection. What later layers make of it is not in it, nor a bias of the head or a cap on
logits.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import nn

from skilljobs.lm.model import FrozenLM
from skilljobs.lm.results import TokenEffect

FINAL_NORMS = ("norm", "ln_f", "final_layer_norm", "final_layernorm")
NORM_BEHIND = "post_feedforward_layernorm"
NEURONS_AT_ONCE = 32


@torch.inference_mode()
def token_effects(lm: FrozenLM, neurons: Sequence[tuple[int, int]], k: int) -> list[TokenEffect]:
    """For each (layer, neuron) the `k` tokens that it promotes most, then the `k` that it suppresses most."""
    norm = _final_norm(lm)
    vocabulary = min(len(lm.head.weight), len(lm.tokenizer))
    head = replace(lm.head, softcap=None, bias=None)
    effects: list[TokenEffect] = []
    for start in range(0, len(neurons), NEURONS_AT_ONCE):
        here = neurons[start : start + NEURONS_AT_ONCE]
        columns = [_written(lm, layer, neuron) for layer, neuron in here]
        written = torch.stack([column.to(lm.head.weight.device) for column in columns])
        direction = norm(written) - norm(torch.zeros_like(written))
        logits = head.logits(direction)[:, :vocabulary]
        logits -= logits.mean(1, keepdim=True)
        for (layer, neuron), row in zip(here, logits, strict=True):
            for found in (row.topk(min(k, vocabulary)), row.topk(min(k, vocabulary), largest=False)):
                for logit, token in zip(found.values.tolist(), found.indices.tolist(), strict=True):
                    effects.append(TokenEffect(layer, neuron, str(lm.tokenizer.decode([token])), logit))
    return effects


def _written(lm: FrozenLM, layer: int, neuron: int) -> torch.Tensor:
    """The direction in which a positive activation moves the residual stream: d_model."""
    projection = lm.projections[layer]
    weight: torch.Tensor = projection.weight  # type: ignore[assignment]
    column = weight[:, neuron] if isinstance(projection, nn.Linear) else weight[neuron]
    name = next(name for name, module in lm.model.named_modules() if module is projection)
    block = lm.model.get_submodule(name.rsplit(".", 2)[0])
    behind = getattr(block, NORM_BEHIND, None)
    return behind(column) if isinstance(behind, nn.Module) else column


def _final_norm(lm: FrozenLM) -> nn.Module:
    """Norms are blind to scale, so of a single direction they keep what they do to its coordinates."""
    for name in FINAL_NORMS:
        norm = getattr(lm.body, name, None)
        if isinstance(norm, nn.Module):
            return norm
    return nn.Identity()
