"""Networks of sines: smooth, and able to follow fine detail."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from geocsp.location.dropout import Dropout
from geocsp.location.networks import check_sizes


class _SineLayer(nn.Module):
    """sin(frequency * dropout(W x + b)), weights as in Sitzmann et al. (2020), section 3.2."""

    def __init__(
        self, in_dim: int, dim: int, frequency: float, dropout: float, *, first: bool
    ) -> None:
        super().__init__()
        self.linear = nn.Linear(in_dim, dim)
        self.dropout = Dropout(dropout)
        self.frequency = frequency
        _spread(self.linear, 1 / in_dim if first else math.sqrt(6 / in_dim) / frequency)

    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(self.frequency * self.dropout(self.linear(x)))


class Siren(nn.Module):
    """Sinusoidal representation network (Sitzmann et al., NeurIPS 2020), as used by SatCLIP.

    Layers sin(w (W x + b)), the first with its own w, then a linear layer.

    Args:
        in_dim: size of the position features.
        dim: size of the embedding.
        hidden: width of the hidden layers.
        layers: number of hidden layers.
        dropout: probability of dropping a unit before the sine.
        first_frequency: w of the first layer; the others have 1.
    """

    def __init__(
        self,
        in_dim: int,
        dim: int,
        *,
        hidden: int = 512,
        layers: int = 2,
        dropout: float = 0.0,
        first_frequency: float = 30.0,
    ) -> None:
        super().__init__()
        check_sizes(hidden=hidden, layers=layers)
        _check_frequency(first_frequency)
        widths = [in_dim] + [hidden] * layers
        self.hidden = nn.Sequential(
            *(
                _SineLayer(
                    before, after, 1.0 if number else first_frequency, dropout, first=not number
                )
                for number, (before, after) in enumerate(pairwise(widths))
            )
        )
        self.output = nn.Linear(widths[-1], dim)
        _spread(self.output, math.sqrt(6 / widths[-1]))

    def forward(self, features: Tensor) -> Tensor:
        """Map ``(N, in_dim)`` to ``(N, dim)``."""
        embedding: Tensor = self.output(self.hidden(features))
        return embedding


class ResidualSiren(nn.Module):
    """SIREN with residual blocks (x + sin(W2 sin(W1 x))) / 2 (Lu et al., EuroVis 2021).

    The halving keeps the signal in the range of a sine however deep the network is. Residual
    sines are also what Climplicit (2025) uses to represent climate.

    Args:
        in_dim: size of the position features.
        dim: size of the embedding.
        hidden: width of the hidden layers.
        blocks: number of residual blocks.
        dropout: probability of dropping a unit before a sine.
        first_frequency: frequency of the first layer; the others have 1.
    """

    def __init__(
        self,
        in_dim: int,
        dim: int,
        *,
        hidden: int = 512,
        blocks: int = 2,
        dropout: float = 0.0,
        first_frequency: float = 30.0,
    ) -> None:
        super().__init__()
        check_sizes(hidden=hidden, layers=blocks)
        _check_frequency(first_frequency)
        self.input = _SineLayer(in_dim, hidden, first_frequency, dropout, first=True)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                *(_SineLayer(hidden, hidden, 1.0, dropout, first=False) for _ in range(2))
            )
            for _ in range(blocks)
        )
        self.output = nn.Linear(hidden, dim)
        _spread(self.output, math.sqrt(6 / hidden))

    def forward(self, features: Tensor) -> Tensor:
        """Map ``(N, in_dim)`` to ``(N, dim)``."""
        x = self.input(features)
        for block in self.blocks:
            x = (x + block(x)) / 2
        embedding: Tensor = self.output(x)
        return embedding


def _check_frequency(frequency: float) -> None:
    if not 0 < frequency < math.inf:
        raise ValueError(f"first_frequency must be positive and finite, got {frequency}")


def _spread(linear: nn.Linear, bound: float) -> None:
    nn.init.uniform_(linear.weight, -bound, bound)
    nn.init.uniform_(linear.bias, -bound, bound)
