"""Small networks that turn position features into a location embedding."""

from __future__ import annotations

from enum import StrEnum
from itertools import pairwise

import torch
from torch import Tensor, nn

from geocsp.location.dropout import Dropout


class Activation(StrEnum):
    """Non-linearity of a feed-forward network (leaky ReLU with slope 0.2)."""

    RELU = "relu"
    LEAKY_RELU = "leaky_relu"
    GELU = "gelu"

    def build(self) -> nn.Module:
        """A new module of this activation."""
        if self is Activation.LEAKY_RELU:
            return nn.LeakyReLU(0.2)
        return nn.ReLU() if self is Activation.RELU else nn.GELU()


class FeedForward(nn.Module):
    """Hidden layers (linear, activation, dropout, layer norm) and an output layer.

    With ``legacy_output`` the embedding itself passes through the activation and dropout, as in
    the released Space2Vec and CSP code; without it the output layer is linear. Weights start
    Xavier-uniform.

    Args:
        in_dim: size of the position features.
        dim: size of the embedding.
        hidden: width of the hidden layers.
        layers: number of hidden layers.
        activation: non-linearity.
        dropout: probability of dropping a unit.
        legacy_output: activation and dropout on the embedding.
    """

    def __init__(
        self,
        in_dim: int,
        dim: int,
        *,
        hidden: int = 512,
        layers: int = 1,
        activation: Activation = Activation.LEAKY_RELU,
        dropout: float = 0.5,
        legacy_output: bool = False,
    ) -> None:
        super().__init__()
        widths = [in_dim] + [hidden] * layers
        self.hidden = nn.ModuleList(
            _HiddenLayer(before, after, activation, dropout) for before, after in pairwise(widths)
        )
        self.output = nn.Linear(widths[-1], dim)
        nn.init.xavier_uniform_(self.output.weight)
        self.after = (
            nn.Sequential(activation.build(), Dropout(dropout)) if legacy_output else nn.Identity()
        )

    def forward(self, features: Tensor) -> Tensor:
        """Map ``(N, in_dim)`` to ``(N, dim)``."""
        for layer in self.hidden:
            features = layer(features)
        embedding: Tensor = self.after(self.output(features))
        return embedding


class _HiddenLayer(nn.Module):
    def __init__(self, in_dim: int, dim: int, activation: Activation, dropout: float) -> None:
        super().__init__()
        self.linear = nn.Linear(in_dim, dim)
        nn.init.xavier_uniform_(self.linear.weight)
        self.activation = activation.build()
        self.dropout = Dropout(dropout)
        self.norm = nn.LayerNorm(dim)
        self.skip = in_dim == dim

    def forward(self, x: Tensor) -> Tensor:
        y = self.dropout(self.activation(self.linear(x)))
        normed: Tensor = self.norm(y + x if self.skip else y)
        return normed


class ResidualFC(nn.Module):
    """Fully connected residual network of geo-prior models (Mac Aodha et al., ICCV 2019).

    A linear layer with ReLU, then four blocks ``x + relu(W2 dropout(relu(W1 x)))``.

    Args:
        in_dim: size of the position features.
        dim: size of the embedding and of every block.
        blocks: number of residual blocks.
        dropout: probability of dropping a unit inside a block.
    """

    def __init__(self, in_dim: int, dim: int, *, blocks: int = 4, dropout: float = 0.5) -> None:
        super().__init__()
        self.input = nn.Linear(in_dim, dim)
        self.blocks = nn.ModuleList(_ResidualBlock(dim, dropout) for _ in range(blocks))

    def forward(self, features: Tensor) -> Tensor:
        """Map ``(N, in_dim)`` to ``(N, dim)``."""
        x = torch.relu(self.input(features))
        for block in self.blocks:
            x = block(x)
        return x


class _ResidualBlock(nn.Module):
    def __init__(self, dim: int, dropout: float) -> None:
        super().__init__()
        self.first = nn.Linear(dim, dim)
        self.dropout = Dropout(dropout)
        self.second = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.dropout(torch.relu(self.first(x)))
        return x + torch.relu(self.second(inner))
