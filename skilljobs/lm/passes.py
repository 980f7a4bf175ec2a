"""How continuations are read behind text and prompt: as trees in one forward, or as branches of the cache.

Either way gives the states that predict: hidden states, and for each token of each continuation the row that it is
predicted from.
"""

from collections.abc import Sequence

import torch
from transformers import Cache

from skilljobs.lm.batch import TokenizedExample, longest
from skilljobs.lm.model import FrozenLM
from skilljobs.lm.padding import right_padded, text_positions
from skilljobs.lm.transfer import to_device
from skilljobs.lm.tree import TreeBatch

Predicting = tuple[torch.Tensor, torch.Tensor]


def continuation_log_probabilities(
    lm: FrozenLM,
    ids: torch.Tensor,
    mask: torch.Tensor,
    vectors: torch.Tensor,
    batch: Sequence[TokenizedExample],
    cache: Cache | None = None,
) -> torch.Tensor:
    """Log-probability of every token of every continuation of `batch`, one after another; differentiable in `vectors`.

    `mask` (batch x T) says which tokens of the left-padded texts are real. `ids` (batch x new) are the last of them;
    what stands before is in `cache`, which is used up. `vectors` is the prompt, P x d_model.
    """
    vectors = vectors.to(lm.device, lm.dtype)
    if lm.takes_trees(longest(batch, len(vectors))):
        trees = TreeBatch([example.tree for example in batch], lm.device)
        hidden, rows = _tree_pass(lm, ids, mask, vectors, trees, cache)
    else:
        hidden, rows = _branch_pass(lm, ids, mask, vectors, batch, cache)
    targets = [token for example in batch for tokens in example.continuations for token in tokens]
    return lm.head.log_probabilities(hidden, rows, torch.tensor(targets))


def _tree_pass(
    lm: FrozenLM,
    ids: torch.Tensor,
    mask: torch.Tensor,
    vectors: torch.Tensor,
    trees: TreeBatch,
    cache: Cache | None,
) -> Predicting:
    """What is new of the texts, the prompt and the trees in one forward."""
    cached = mask.shape[1] - ids.shape[1]
    embeddings = torch.cat([lm.embed(ids), vectors.expand(len(ids), -1, -1), lm.embed(trees.ids)], 1)
    front = torch.nn.functional.pad(mask, (0, len(vectors)), value=True)
    of_trees = front.sum(1, keepdim=True) + trees.depths
    positions = torch.cat([text_positions(front), of_trees], 1)[:, cached:]
    hidden = lm.run_attending(embeddings, trees.attended(front)[:, cached:], positions, cache)
    in_front = front.shape[1] - cached - 1
    return hidden[:, in_front:].flatten(0, 1)[to_device(trees.predicting, hidden.device)], trees.rows


def _branch_pass(
    lm: FrozenLM,
    ids: torch.Tensor,
    mask: torch.Tensor,
    vectors: torch.Tensor,
    batch: Sequence[TokenizedExample],
    cache: Cache | None,
) -> Predicting:
    """What is new of the texts and the prompt once, then each continuation behind the cache, expanded to them."""
    cached = mask.shape[1] - ids.shape[1]
    front = torch.nn.functional.pad(mask, (0, len(vectors)), value=True)
    embeddings = torch.cat([lm.embed(ids), vectors.expand(len(ids), -1, -1)], 1)
    cache = lm.new_cache() if cache is None else cache
    last = lm.run_body(embeddings, front, text_positions(front)[:, cached:], cache)[:, -1]
    flat = [tokens for example in batch for tokens in example.continuations]
    example = [number for number, of_example in enumerate(batch) for _ in of_example.continuations]
    branches, real = right_padded([tokens[:-1] for tokens in flat], 0, lm.device)
    width = branches.shape[1]
    rows: list[int] = []
    places: list[int] = []
    for branch, (number, tokens) in enumerate(zip(example, flat, strict=True)):
        before = len(last) + len(places)
        rows += [number, *range(before, before + len(tokens) - 1)]
        places += range(branch * width, branch * width + len(tokens) - 1)
    if width == 0:
        return last, torch.tensor(rows)
    of_branch = to_device(torch.tensor(example), lm.device)
    for layer in cache.layers:  # which may be on several GPUs, or share what another one keeps
        if layer.get_seq_length() > 0:
            layer.batch_select_indices(of_branch.to(layer.keys.device, non_blocking=True))
    behind = front[of_branch]
    positions = behind.sum(1, keepdim=True) + torch.arange(width, device=lm.device)
    hidden = lm.run_body(lm.embed(branches), torch.cat([behind, real], 1), positions, cache).flatten(0, 1)
    return torch.cat([last, hidden[to_device(torch.tensor(places), hidden.device)]]), torch.tensor(rows)
