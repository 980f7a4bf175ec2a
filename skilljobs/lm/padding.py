"""Rows of token ids of different lengths as one tensor."""

from collections.abc import Sequence

import torch


def left_padded(rows: Sequence[Sequence[int]], padding: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids, rows x longest, padded on the left, and the mask that is True at real tokens."""
    width = max(map(len, rows))
    ids = torch.tensor([[padding] * (width - len(row)) + list(row) for row in rows], dtype=torch.long, device=device)
    lengths = torch.tensor([len(row) for row in rows], device=device)
    return ids, torch.arange(width, device=device) >= width - lengths[:, None]


def right_padded(
    rows: Sequence[Sequence[int]], padding: int, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids, rows x longest, padded on the right, and the mask that is True at real tokens."""
    width = max(map(len, rows))
    ids = torch.tensor([list(row) + [padding] * (width - len(row)) for row in rows], dtype=torch.long, device=device)
    lengths = torch.tensor([len(row) for row in rows], device=device)
    return ids, torch.arange(width, device=device) < lengths[:, None]


def text_positions(mask: torch.Tensor) -> torch.Tensor:
    """Positions of left-padded tokens, batch x tokens: padding counts for nothing."""
    return (mask.cumsum(1) - 1).clamp(min=0)
