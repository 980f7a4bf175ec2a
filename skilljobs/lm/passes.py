"""How continuations are read behind text and prompt: as trees in one forward, or as branches of the cache.

Either way gives the states that predict: hidden states, and for each token of each continuation the row that it is
predicted from.
"""

from collections.abc import Sequence

import torch
from transformers import DynamicCache

from skilljobs.lm.batch import TokenizedExample
from skilljobs.lm.model import FrozenLM
from skilljobs.lm.padding import right_padded
from skilljobs.lm.tree import TreeBatch

Predicting = tuple[torch.Tensor, torch.Tensor]


def continuation_log_probabilities(
    lm: FrozenLM,
    ids: torch.Tensor,
    mask: torch.Tensor,
    vectors: torch.Tensor,
    batch: Sequence[TokenizedExample],
    cache: DynamicCache | None = None,
) -> torch.Tensor:
    """Log-probability of every token of every continuation of `batch`, one after another; differentiable in `vectors`.

    `ids` and `mask` are the left-padded texts, batch x T, `vectors` the prompt, P x d_model. With `cache` the texts
    stand there already; it is used up.
    """
    vectors = vectors.to(lm.device, lm.dtype)
    if lm.takes_trees(longest(batch, len(vectors))):
        hidden, rows = _tree_pass(
            lm, ids, mask, vectors, TreeBatch([example.tree for example in batch], lm.device), cache
        )
    else:
        hidden, rows = _branch_pass(lm, ids, mask, vectors, batch, cache)
    targets = [token for example in batch for tokens in example.continuations for token in tokens]
    return lm.head.log_probabilities(hidden, rows, torch.tensor(targets))


def longest(batch: Sequence[TokenizedExample], prompt_length: int) -> int:
    """Positions of the longest example with its longest continuation."""
    return prompt_length + max(len(example.text) + example.longest_continuation for example in batch)


def text_positions(mask: torch.Tensor) -> torch.Tensor:
    """Positions of left-padded tokens, batch x tokens: padding counts for nothing."""
    return (mask.cumsum(1) - 1).clamp(min=0)


def _tree_pass(
    lm: FrozenLM,
    ids: torch.Tensor,
    mask: torch.Tensor,
    vectors: torch.Tensor,
    trees: TreeBatch,
    cache: DynamicCache | None,
) -> Predicting:
    """Text (unless it is cached), prompt and trees in one forward."""
    length, prompt_length = ids.shape[1], len(vectors)
    parts = [vectors.expand(len(ids), -1, -1), lm.embed(trees.ids)]
    before = mask.sum(1, keepdim=True)
    prompt_places = torch.arange(prompt_length, device=lm.device)
    positions = torch.cat([before + prompt_places, before + prompt_length + trees.depths], 1)
    attended = trees.attended(mask, prompt_length)
    if cache is None:
        parts.insert(0, lm.embed(ids))
        positions = torch.cat([text_positions(mask), positions], 1)
    else:
        attended = attended[:, length:]
    hidden = lm.run_attending(torch.cat(parts, 1), attended, positions, cache)
    predicting = torch.nn.functional.pad(trees.real, (1, 0), value=True)
    return hidden[:, -predicting.shape[1] :][predicting], trees.rows


def _branch_pass(
    lm: FrozenLM,
    ids: torch.Tensor,
    mask: torch.Tensor,
    vectors: torch.Tensor,
    batch: Sequence[TokenizedExample],
    cache: DynamicCache | None,
) -> Predicting:
    """Text and prompt once, then each continuation by itself behind the cache, which is expanded to them."""
    front = torch.nn.functional.pad(mask, (0, len(vectors)), value=True)
    embeddings, positions = vectors.expand(len(ids), -1, -1), text_positions(front)
    if cache is None:
        cache, embeddings = lm.new_cache(), torch.cat([lm.embed(ids), embeddings], 1)
    last = lm.run_body(embeddings, front, positions[:, -embeddings.shape[1] :], cache)[:, -1]
    flat = [tokens for example in batch for tokens in example.continuations]
    example = [number for number, of_example in enumerate(batch) for _ in of_example.continuations]
    branches, real = right_padded([tokens[:-1] for tokens in flat], 0, lm.device)
    rows, before = [], len(last)
    for number, tokens in zip(example, flat, strict=True):
        rows += [number, *range(before, before + len(tokens) - 1)]
        before += len(tokens) - 1
    if branches.shape[1] == 0:
        return last, torch.tensor(rows)
    of_branch = torch.tensor(example, device=lm.device)
    cache.batch_select_indices(of_branch)
    behind = front[of_branch]
    positions = behind.sum(1, keepdim=True) + torch.arange(branches.shape[1], device=lm.device)
    hidden = lm.run_body(lm.embed(branches), torch.cat([behind, real], 1), positions, cache)[real]
    return torch.cat([last, hidden]), torch.tensor(rows)
