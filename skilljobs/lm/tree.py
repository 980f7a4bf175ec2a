"""The continuations of an example as a tree of tokens, so that one forward pass reads shared tokens only once.

A node attends to the text, the prompt, its own ancestors and itself. This module deals with tokens and masks, not with
models.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from skilljobs.lm.padding import right_padded
from skilljobs.lm.transfer import to_device


@dataclass(frozen=True)
class TokenTree:
    """The tokens that the model reads of some continuations: all but the last token of each, as nodes of a tree.

    Parents come before their children.
    """

    tokens: list[int]
    parents: list[int]
    """The parent of each node, or -1 for a node that directly follows the prompt."""
    depths: list[int]
    rows: list[int]
    """For each token of each continuation, one after another, where it is predicted: 0 for the state before the tree,
    otherwise 1 + the index of the preceding node."""

    @classmethod
    def of(cls, continuations: Sequence[Sequence[int]]) -> "TokenTree":
        nodes: dict[tuple[int, int], int] = {}
        depths: list[int] = []
        rows: list[int] = []
        for continuation in continuations:
            node = -1
            for depth, token in enumerate(continuation):
                rows.append(node + 1)
                if depth == len(continuation) - 1:
                    break
                if (node, token) not in nodes:
                    nodes[node, token] = len(nodes)
                    depths.append(depth)
                node = nodes[node, token]
        return cls([token for _, token in nodes], [parent for parent, _ in nodes], depths, rows)


class TreeBatch:
    """The trees of a batch of B examples, padded to N nodes each.

    `ids`, `depths` and `real` (whether a node is no padding) are B x N. `attends` is B x N x N, bool: which nodes a
    node attends to. `predicting` holds the states before each tree and after each of its nodes, as flat indices into
    B x (1 + N). `rows` says, for each token of each continuation, which of these states predicts it.
    """

    def __init__(self, trees: Sequence[TokenTree], device: torch.device) -> None:
        self.ids, self.real = right_padded([tree.tokens for tree in trees], 0, device)
        self.depths, _ = right_padded([tree.depths for tree in trees], 0, device)
        width = self.ids.shape[1]
        attends = np.zeros((len(trees), width, width), bool)
        rows: list[int] = []
        predicting: list[int] = []
        for number, (attended, tree) in enumerate(zip(attends, trees, strict=True)):
            for node, parent in enumerate(tree.parents):
                if parent >= 0:
                    attended[node] = attended[parent]
                attended[node, node] = True
            rows += [len(predicting) + row for row in tree.rows]
            predicting += [number * (1 + width) + state for state in range(1 + len(tree.tokens))]
        self.attends = to_device(torch.from_numpy(attends), device)
        self.predicting = torch.tensor(predicting)
        self.rows = torch.tensor(rows)

    def attended(self, context_mask: torch.Tensor) -> torch.Tensor:
        """Return which positions of text, prompt and tree each position attends to: B x S x S, bool.

        `context_mask` is the padding mask of text and prompt, B x positions. Padding attends to itself, so that no row
        is empty.
        """
        batch, length = context_mask.shape
        total = length + self.ids.shape[1]
        attended = torch.zeros(batch, total, total, dtype=torch.bool, device=context_mask.device)
        causal = torch.ones(length, length, dtype=torch.bool, device=context_mask.device).tril()
        attended[:, :length, :length] = causal & context_mask[:, None, :]
        attended[:, length:, :length] = context_mask[:, None, :]
        attended[:, length:, length:] = self.attends
        attended.diagonal(dim1=1, dim2=2).fill_(True)
        return attended
