"""What people write today: a forward for each question and choice, every activation to the CPU, corrcoef at the end."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from transformers import PreTrainedModel

from skilljobs.lm.batch import TokenizedExample

Array = NDArray[np.float64]
SEQUENCES = 16


@dataclass(frozen=True)
class Found:
    """`activations`: examples x neurons of all layers, the mean over the prompt. `confidence`: one an example."""

    activations: Array
    confidence: Array


Forward = Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, list[torch.Tensor]]]
"""From embeddings and mask (both batch x tokens) to logits and each layer's neurons, batch x tokens x neurons."""


def plain_forward(model: PreTrainedModel, projections: Sequence[nn.Module]) -> Forward:
    """Transformers and forward hooks."""

    def forward(embeddings: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        kept: list[torch.Tensor] = []
        hooks = [
            module.register_forward_pre_hook(lambda _, given: kept.append(given[0].cpu())) for module in projections
        ]
        logits = model(inputs_embeds=embeddings, attention_mask=mask, use_cache=False).logits
        for hook in hooks:
            hook.remove()
        return logits, kept

    return forward


@torch.no_grad()
def collect(
    forward: Forward, embedding: nn.Module, prompt: torch.Tensor, examples: Sequence[TokenizedExample]
) -> Found:
    """One row for each question and choice, padded on the right, `SEQUENCES` at a time."""
    rows = [(example, tokens) for example in examples for tokens in example.continuations]
    activations, scores = [], []
    for start in range(0, len(rows), SEQUENCES):
        batch = rows[start : start + SEQUENCES]
        pieces = [
            torch.cat([embedding(torch.tensor(example.text)), prompt, embedding(torch.tensor(tokens[:-1]).long())])
            for example, tokens in batch
        ]
        embeddings = nn.utils.rnn.pad_sequence(pieces, batch_first=True)
        lengths = torch.tensor([len(piece) for piece in pieces])
        logits, kept = forward(embeddings, (torch.arange(embeddings.shape[1]) < lengths[:, None]).long())
        log_probabilities = logits.float().log_softmax(-1)
        for number, (example, tokens) in enumerate(batch):
            front = len(example.text) + len(prompt)
            ahead = log_probabilities[number, front - 1 : front - 1 + len(tokens)]
            scores.append(ahead.gather(1, torch.tensor(tokens)[:, None]).sum().item())
            if tokens is example.continuations[0]:
                inside = slice(len(example.text), front)
                activations.append(np.concatenate([layer[number, inside].double().mean(0).numpy() for layer in kept]))
    return Found(np.stack(activations), confidence_of(scores, examples))


def confidence_of(scores: Sequence[float], examples: Sequence[TokenizedExample]) -> Array:
    """Softmax of the summed log-probabilities at the right choice."""
    remaining = iter(scores)
    found = []
    for example in examples:
        sums = np.array([next(remaining) for _ in example.continuations])
        weights = np.exp(sums - sums.max())
        found.append(weights[example.answer] / weights.sum())
    return np.array(found)


def corrcoef(activations: Array, metrics: Array) -> Array:
    """r of every metric (rows x metrics) with every neuron (rows x neurons): metrics x neurons."""
    a, y = activations - activations.mean(0), metrics - metrics.mean(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (y.T @ a) / np.sqrt((y**2).sum(0)[:, None] * (a**2).sum(0)[None])
