"""Combining rows of token ids of different lengths into one tensor."""

from collections.abc import Sequence

import torch

from skilljobs.lm.transfer import to_device


def left_padded(rows: Sequence[Sequence[int]], padding: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the token ids padded on the left, rows x longest, and a mask that is True at real tokens."""
    width = max(map(len, rows))
    ids = torch.tensor([[padding] * (width - len(row)) + list(row) for row in rows], dtype=torch.long)
    return to_device(ids, device), torch.arange(width, device=device) >= width - _lengths(rows, device)


def right_padded(
    rows: Sequence[Sequence[int]], padding: int, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the token ids padded on the right, rows x longest, and a mask that is True at real tokens."""
    width = max(map(len, rows))
    ids = torch.tensor([list(row) + [padding] * (width - len(row)) for row in rows], dtype=torch.long)
    return to_device(ids, device), torch.arange(width, device=device) < _lengths(rows, device)


def text_positions(mask: torch.Tensor) -> torch.Tensor:
    """Return the positions of left-padded tokens, batch x tokens, without counting padding."""
    return (mask.cumsum(1) - 1).clamp(min=0)


def _lengths(rows: Sequence[Sequence[int]], device: torch.device) -> torch.Tensor:
    return to_device(torch.tensor([len(row) for row in rows]), device)[:, None]
