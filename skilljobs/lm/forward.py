"""Scoring a batch: text and prompt once, the continuations behind them, logits only where they are scored."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from skilljobs.lm.batch import TokenizedExample
from skilljobs.lm.ffn import TokenMode, neurons_read
from skilljobs.lm.model import FrozenLM
from skilljobs.lm.padding import left_padded
from skilljobs.lm.passes import continuation_log_probabilities
from skilljobs.lm.prefix import Prefix


@dataclass(frozen=True)
class ScoredBatch:
    """`activations`: a float64 tensor a layer, batch x tokens x neurons. `log_probabilities`: for each example one
    float64 tensor, the summed log-probability of each continuation; `token_counts` the tokens summed over."""

    activations: list[torch.Tensor]
    log_probabilities: list[torch.Tensor]
    token_counts: list[list[int]]


@torch.inference_mode()
def score_batch(
    lm: FrozenLM,
    prompt: torch.Tensor,
    batch: Sequence[TokenizedExample],
    tokens: TokenMode | None,
    prefix: Prefix | None = None,
) -> ScoredBatch:
    """Read the neurons at the prompt positions and score every continuation of `batch`.

    `prompt` is P x d_model on the model's device, in its dtype. With `tokens` None no neuron is read. `prefix` is what
    all texts begin with, read before.
    """
    known = prefix.length if prefix else 0
    ids, mask = left_padded([example.text[known:] for example in batch], 0, lm.device)
    mask = torch.nn.functional.pad(mask, (known, 0), value=True)
    cache = prefix.cache_of(len(batch)) if prefix else None
    front = ids.shape[1] + len(prompt)
    read = slice(front - max(1, len(prompt)), front)
    with neurons_read(lm.projections if tokens else [], read, tokens or "mean") as activations:
        scores = continuation_log_probabilities(lm, ids, mask, prompt, batch, cache).double()
    counts = [[len(tokens) for tokens in example.continuations] for example in batch]
    lengths = [count for of_example in counts for count in of_example]
    sums = torch.stack([piece.sum() for piece in scores.split(lengths)])
    return ScoredBatch(
        activations=[layer.to(lm.device) for layer in activations],
        log_probabilities=list(sums.split(list(map(len, counts)))),
        token_counts=counts,
    )
