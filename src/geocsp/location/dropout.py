"""Dropout that draws eight masks per random number: small networks spend much time in masks."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Dropout(nn.Module):
    """Zero units at random while training and scale up the rest (Srivastava et al., JMLR 2014).

    Same distribution as ``torch.nn.Dropout`` for probabilities that are multiples of 1/256, to
    which others are rounded; the scale fits the rounded probability, so the mean is kept. About
    four times as fast on a CPU, where the time goes into random numbers: one byte decides on one
    unit, not a whole floating point draw.

    Args:
        probability: share of units to drop, in [0, 1).

    Raises:
        ValueError: the probability is out of range.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        if not 0 <= probability < 1:
            raise ValueError(f"dropout probability must be in [0, 1), got {probability}")
        self.kept = max(1, round((1 - probability) * 256))

    def forward(self, x: Tensor) -> Tensor:
        """Drop units of a tensor of any shape."""
        if not self.training or self.kept == 256:
            return x
        words = torch.empty((x.numel() + 7) // 8, dtype=torch.int64, device=x.device)
        draws = words.random_(-(2**63), None).view(torch.uint8)[: x.numel()].view(x.shape)
        return x * ((draws < self.kept) * torch.tensor(256 / self.kept, dtype=x.dtype))
