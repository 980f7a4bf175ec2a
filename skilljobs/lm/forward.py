"""Scoring a batch: text and prompt once, the choices as branches of the cache, logits only where they are scored."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import DynamicCache

from skilljobs.lm.batch import TokenizedExample
from skilljobs.lm.ffn import TokenMode, neurons_read
from skilljobs.lm.model import FrozenLM, left_padded, right_padded


@dataclass(frozen=True)
class Branches:
    """The continuations of a batch, one row each, in order of their examples."""

    example: torch.Tensor
    """The example of each row."""
    tokens: list[list[int]]
    """Each continuation with its end token."""

    @classmethod
    def of(cls, continuations: Sequence[Sequence[list[int]]], device: torch.device) -> "Branches":
        counts = torch.tensor([len(of_example) for of_example in continuations], device=device)
        example = torch.repeat_interleave(torch.arange(len(counts), device=device), counts)
        return cls(example, [list(tokens) for of_example in continuations for tokens in of_example])

    @property
    def lengths(self) -> list[int]:
        return [len(tokens) for tokens in self.tokens]


@dataclass(frozen=True)
class ScoredBatch:
    """`activations`: a float64 tensor a layer, batch x tokens x neurons. `log_probabilities`: for each example one
    float64 tensor, the summed log-probability of each continuation; `token_counts` the tokens summed over."""

    activations: list[torch.Tensor]
    log_probabilities: list[torch.Tensor]
    token_counts: list[list[int]]


@torch.inference_mode()
def score_batch(
    lm: FrozenLM, prompt: torch.Tensor, batch: Sequence[TokenizedExample], tokens: TokenMode | None
) -> ScoredBatch:
    """Read the neurons at the prompt positions and score every continuation of `batch`.

    `prompt` is P x d_model on the model's device, in its dtype. With `tokens` None no neuron is read.
    """
    ids, mask = left_padded([example.text for example in batch], 0, lm.device)
    embeddings = torch.cat([lm.embed(ids), prompt.expand(len(batch), -1, -1)], 1)
    mask = torch.nn.functional.pad(mask, (0, len(prompt)), value=True)
    cache = lm.new_cache()
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    read_at = max(1, len(prompt))
    with neurons_read(lm.projections if tokens else [], read_at, tokens or "mean") as activations:
        hidden = lm.run_body(embeddings, mask, positions, cache)
    branches = Branches.of([example.continuations for example in batch], lm.device)
    scores = branch_log_probabilities(lm, hidden[:, -1], branches, cache, mask).double()
    sums = torch.stack([piece.sum() for piece in scores.split(branches.lengths)])
    counts = [len(example.continuations) for example in batch]
    return ScoredBatch(
        activations=[layer.to(lm.device) for layer in activations],
        log_probabilities=list(sums.split(counts)),
        token_counts=[[len(tokens) for tokens in example.continuations] for example in batch],
    )


def branch_log_probabilities(
    lm: FrozenLM, last_hidden: torch.Tensor, branches: Branches, cache: DynamicCache, mask: torch.Tensor
) -> torch.Tensor:
    """Log-probability of every token of every branch, one after another.

    `last_hidden` (batch x d_model) is the state in front of the branches, `cache` and `mask` (batch x cached) what
    stands before them. The cache is expanded to the branches and used up.
    """
    firsts = torch.tensor([tokens[0] for tokens in branches.tokens], device=lm.device)
    first_scores = lm.log_probabilities(last_hidden, branches.example, firsts)
    inputs = [tokens[:-1] for tokens in branches.tokens]
    ids, branch_mask = right_padded(inputs, 0, lm.device)
    cache.batch_select_indices(branches.example)
    behind = mask[branches.example]
    positions = behind.sum(1, keepdim=True) + torch.arange(ids.shape[1], device=lm.device)
    hidden = lm.run_body(lm.embed(ids), torch.cat([behind, branch_mask], 1), positions, cache)[branch_mask]
    targets = torch.tensor([token for tokens in branches.tokens for token in tokens[1:]], device=lm.device)
    rest_scores = lm.log_probabilities(hidden, torch.arange(len(hidden), device=lm.device), targets)
    is_first = torch.zeros(sum(branches.lengths), dtype=torch.bool, device=lm.device)
    starts = torch.tensor([0, *branches.lengths[:-1]], device=lm.device).cumsum(0)
    is_first[starts] = True
    scores = torch.empty(len(is_first), device=lm.device)
    scores[is_first], scores[~is_first] = first_scores, rest_scores
    return scores
