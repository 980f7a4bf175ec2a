"""The continuations of an example as a tree of tokens, so that what they share is read once, all in one forward.

A node attends to the text, the prompt and its own ancestors. Knows tokens and masks, no model.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from skilljobs.lm.padding import right_padded
from skilljobs.lm.transfer import to_device


@dataclass(frozen=True)
class TokenTree:
    """Every token that is read of some continuations: all but the last of each. Parents stand before their children."""

    tokens: list[int]
    parents: list[int]
    """Of each node; -1 for one that follows the prompt."""
    depths: list[int]
    rows: list[int]
    """For each token of each continuation, one after another, where it is predicted: 0 in front of the tree, else
    1 + the node in front of it."""

    @classmethod
    def of(cls, continuations: Sequence[Sequence[int]]) -> "TokenTree":
        nodes: dict[tuple[int, int], int] = {}
        depths: list[int] = []
        rows: list[int] = []
        for continuation in continuations:
            at = -1
            for depth, token in enumerate(continuation):
                rows.append(at + 1)
                if depth == len(continuation) - 1:
                    break
                if (at, token) not in nodes:
                    nodes[at, token] = len(nodes)
                    depths.append(depth)
                at = nodes[at, token]
        return cls([token for _, token in nodes], [parent for parent, _ in nodes], depths, rows)


class TreeBatch:
    """The trees of a batch of B examples, N nodes wide.

    `ids` B x N, `depths` B x N, `sees` B x N x N bool: which nodes a node attends to. `predicting`: the states in front
    of each tree and behind its nodes, as places in B x (1 + N). `rows`: for each token of each continuation, which of
    these predicts it.
    """

    def __init__(self, trees: Sequence[TokenTree], device: torch.device) -> None:
        self.ids, _ = right_padded([tree.tokens for tree in trees], 0, device)
        self.depths, _ = right_padded([tree.depths for tree in trees], 0, device)
        width = self.ids.shape[1]
        sees = np.zeros((len(trees), width, width), bool)
        rows: list[int] = []
        predicting: list[int] = []
        for number, (of_example, tree) in enumerate(zip(sees, trees, strict=True)):
            for node, parent in enumerate(tree.parents):
                if parent >= 0:
                    of_example[node] = of_example[parent]
                of_example[node, node] = True
            rows += [len(predicting) + row for row in tree.rows]
            predicting += [number * (1 + width) + place for place in range(1 + len(tree.tokens))]
        self.sees = to_device(torch.from_numpy(sees), device)
        self.predicting = torch.tensor(predicting)
        self.rows = torch.tensor(rows)

    def attended(self, front: torch.Tensor) -> torch.Tensor:
        """Who attends to whom in text, prompt and tree: B x S x S bool, from the mask of text and prompt.

        Padding attends to itself, so that no row is empty.
        """
        batch, length = front.shape
        whole = length + self.ids.shape[1]
        attended = torch.zeros(batch, whole, whole, dtype=torch.bool, device=front.device)
        causal = torch.ones(length, length, dtype=torch.bool, device=front.device).tril()
        attended[:, :length, :length] = causal & front[:, None, :]
        attended[:, length:, :length] = front[:, None, :]
        attended[:, length:, length:] = self.sees
        attended.diagonal(dim1=1, dim2=2).fill_(True)
        return attended
