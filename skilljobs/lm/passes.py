"""Two ways of reading continuations after text and prompt: as trees in one forward pass, or as branches of the cache.

Both return hidden states and, for each token of each continuation, the row of the state that predicts it. With several
copies of a batch, the rows are those of the first copy, then those of the second, and so on.
"""

from collections.abc import Sequence

import torch
from transformers import Cache

from skilljobs.lm.batch import TokenizedExample, longest_sequence
from skilljobs.lm.model import FrozenLM
from skilljobs.lm.padding import right_padded, text_positions
from skilljobs.lm.position_kinds import answer_kinds, context_kinds
from skilljobs.lm.transfer import to_device
from skilljobs.lm.tree import TreeBatch
from skilljobs.neurons.changes import PassWatcher

PredictingStates = tuple[torch.Tensor, torch.Tensor]


def continuation_log_probabilities(
    lm: FrozenLM,
    ids: torch.Tensor,
    mask: torch.Tensor,
    vectors: torch.Tensor,
    batch: Sequence[TokenizedExample],
    cache: Cache | None = None,
    copies: int = 1,
    watcher: PassWatcher | None = None,
) -> torch.Tensor:
    """Return the log-probability of every token of every continuation of `batch`, one continuation after another.

    The batch is read `copies` times side by side, and `watcher` is told of each pass.

    The result is differentiable with respect to `vectors`, the prompt (P x d_model). `mask` (batch x T) says which
    tokens of the left-padded texts are real. `ids` (batch x new) are the last tokens of the texts; `cache` holds those
    before them, once for each copy, and must not be used again afterwards.
    """
    vectors = vectors.to(lm.device, lm.dtype)
    kinds = context_kinds(mask, len(vectors))[:, mask.shape[1] - ids.shape[1] :]
    if lm.takes_trees(longest_sequence(batch, len(vectors))):
        trees = TreeBatch([example.tree for example in batch], lm.device)
        if watcher is not None:
            whole = torch.cat([kinds, answer_kinds(trees.real, len(vectors))], 1)
            watcher.begin_pass(whole.repeat(copies, 1))
        hidden, rows = _tree_pass(lm, ids, mask, vectors, trees, cache, copies)
    else:
        if watcher is not None:
            watcher.begin_pass(kinds.repeat(copies, 1))
        hidden, rows = _branch_pass(lm, ids, mask, vectors, batch, cache, copies, watcher)
    targets = [token for example in batch for tokens in example.continuations for token in tokens]
    return lm.head.log_probabilities(hidden, rows, torch.tensor(targets * copies))


def _tree_pass(
    lm: FrozenLM,
    ids: torch.Tensor,
    mask: torch.Tensor,
    vectors: torch.Tensor,
    trees: TreeBatch,
    cache: Cache | None,
    copies: int,
) -> PredictingStates:
    """Read the uncached part of the texts, the prompt and the trees in one forward pass."""
    cached = mask.shape[1] - ids.shape[1]
    embeddings = torch.cat([lm.embed(ids), vectors.expand(len(ids), -1, -1), lm.embed(trees.ids)], 1)
    context_mask = torch.nn.functional.pad(mask, (0, len(vectors)), value=True)
    tree_positions = context_mask.sum(1, keepdim=True) + trees.depths
    positions = torch.cat([text_positions(context_mask), tree_positions], 1)[:, cached:]
    attended = trees.attended(context_mask)[:, cached:]
    if copies > 1:
        embeddings, attended = embeddings.repeat(copies, 1, 1), attended.repeat(copies, 1, 1)
        positions = positions.repeat(copies, 1)
    hidden = lm.run_body_with_mask(embeddings, attended, positions, cache)
    last_prompt_position = context_mask.shape[1] - cached - 1
    states = hidden[:, last_prompt_position:]
    predicting = _of_copies(trees.predicting, states.shape[0] * states.shape[1] // copies, copies)
    return states.flatten(0, 1)[to_device(predicting, hidden.device)], _of_copies(
        trees.rows, len(trees.predicting), copies
    )


def _branch_pass(
    lm: FrozenLM,
    ids: torch.Tensor,
    mask: torch.Tensor,
    vectors: torch.Tensor,
    batch: Sequence[TokenizedExample],
    cache: Cache | None,
    copies: int,
    watcher: PassWatcher | None,
) -> PredictingStates:
    """Read the uncached part of the texts and the prompt once, then each continuation after its copy of the cache."""
    cached = mask.shape[1] - ids.shape[1]
    context_mask = torch.nn.functional.pad(mask, (0, len(vectors)), value=True).repeat(copies, 1)
    embeddings = torch.cat([lm.embed(ids), vectors.expand(len(ids), -1, -1)], 1).repeat(copies, 1, 1)
    cache = lm.new_cache() if cache is None else cache
    last = lm.run_body(embeddings, context_mask, text_positions(context_mask)[:, cached:], cache)[:, -1]
    flat = [tokens for _ in range(copies) for example in batch for tokens in example.continuations]
    repeated = [example for _ in range(copies) for example in batch]
    owners = [number for number, example in enumerate(repeated) for _ in example.continuations]
    branches, real = right_padded([tokens[:-1] for tokens in flat], 0, lm.device)
    width = branches.shape[1]
    rows: list[int] = []
    indices: list[int] = []
    for branch, (number, tokens) in enumerate(zip(owners, flat, strict=True)):
        before = len(last) + len(indices)
        rows += [number, *range(before, before + len(tokens) - 1)]
        indices += range(branch * width, branch * width + len(tokens) - 1)
    if width == 0:
        return last, torch.tensor(rows)
    branch_owners = to_device(torch.tensor(owners), lm.device)
    select_rows(cache, branch_owners)
    branch_mask = context_mask[branch_owners]
    positions = branch_mask.sum(1, keepdim=True) + torch.arange(width, device=lm.device)
    if watcher is not None:
        watcher.begin_pass(answer_kinds(real, len(vectors)), branch_owners)
    hidden = lm.run_body(lm.embed(branches), torch.cat([branch_mask, real], 1), positions, cache).flatten(0, 1)
    return torch.cat([last, hidden[to_device(torch.tensor(indices), hidden.device)]]), torch.tensor(rows)


def select_rows(cache: Cache, rows: torch.Tensor) -> None:
    """Replace the rows of a cache by those that `rows` names."""
    for layer in cache.layers:  # layers may be on several GPUs; a layer that shares another's keys holds none
        if layer.get_seq_length() > 0:
            layer.batch_select_indices(rows.to(layer.keys.device, non_blocking=True))


def _of_copies(indices: torch.Tensor, size: int, copies: int) -> torch.Tensor:
    """Indices into each of `copies` parts of `size`, one part after another."""
    return (indices + size * torch.arange(copies)[:, None]).flatten() if copies > 1 else indices
