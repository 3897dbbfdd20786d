"""Networks that turn position features into a location embedding."""

from __future__ import annotations

from enum import StrEnum
from itertools import pairwise

import torch
from torch import Tensor, nn

from geocsp.location.dropout import Dropout


class Activation(StrEnum):
    """Non-linearity of a network (leaky ReLU with slope 0.2)."""

    RELU = "relu"
    LEAKY_RELU = "leaky_relu"
    GELU = "gelu"
    SIGMOID = "sigmoid"
    TANH = "tanh"

    @classmethod
    def _missing_(cls, value: object) -> Activation:
        raise ValueError(f"no activation {value!r}; available: {', '.join(cls)}")

    def build(self) -> nn.Module:
        """A new module of this activation."""
        if self is Activation.LEAKY_RELU:
            return nn.LeakyReLU(0.2)
        return _ACTIVATIONS[self]()


_ACTIVATIONS: dict[Activation, type[nn.Module]] = {
    Activation.RELU: nn.ReLU,
    Activation.GELU: nn.GELU,
    Activation.SIGMOID: nn.Sigmoid,
    Activation.TANH: nn.Tanh,
}


class FeedForward(nn.Module):
    """Hidden layers (linear, activation, dropout, skip, layer norm) and an output layer.

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
        layer_norm: normalise after each hidden layer.
        skip: add the input of a hidden layer to its output where their widths agree.
        legacy_output: activation and dropout on the embedding.
    """

    def __init__(
        self,
        in_dim: int,
        dim: int,
        *,
        hidden: int = 512,
        layers: int = 1,
        activation: Activation | str = Activation.LEAKY_RELU,
        dropout: float = 0.5,
        layer_norm: bool = True,
        skip: bool = True,
        legacy_output: bool = False,
    ) -> None:
        super().__init__()
        check_sizes(hidden=hidden, layers=layers)
        activation = Activation(activation)
        widths = [in_dim] + [hidden] * layers
        self.hidden = nn.ModuleList(
            _HiddenLayer(
                before, after, activation, dropout, norm=layer_norm, skip=skip and before == after
            )
            for before, after in pairwise(widths)
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
    def __init__(
        self,
        in_dim: int,
        dim: int,
        activation: Activation,
        dropout: float,
        *,
        norm: bool,
        skip: bool,
    ) -> None:
        super().__init__()
        self.linear = nn.Linear(in_dim, dim)
        nn.init.xavier_uniform_(self.linear.weight)
        self.activation = activation.build()
        self.dropout = Dropout(dropout)
        self.norm = nn.LayerNorm(dim) if norm else nn.Identity()
        self.skip = skip

    def forward(self, x: Tensor) -> Tensor:
        y = self.dropout(self.activation(self.linear(x)))
        normed: Tensor = self.norm(y + x if self.skip else y)
        return normed


class ResidualFC(nn.Module):
    """Fully connected residual network of geo-prior models (Mac Aodha et al., ICCV 2019).

    A linear layer with ReLU, then blocks ``x + relu(W2 dropout(relu(W1 x)))``.

    Args:
        in_dim: size of the position features.
        dim: size of the embedding.
        blocks: number of residual blocks.
        hidden: width of the blocks, with a linear layer from there to the embedding; None for
            blocks as wide as the embedding and no such layer.
        dropout: probability of dropping a unit inside a block.
    """

    def __init__(
        self,
        in_dim: int,
        dim: int,
        *,
        blocks: int = 4,
        hidden: int | None = None,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        width = dim if hidden is None else hidden
        check_sizes(hidden=width, layers=blocks)
        self.input = nn.Linear(in_dim, width)
        self.blocks = nn.ModuleList(_ResidualBlock(width, dropout) for _ in range(blocks))
        self.output = nn.Identity() if hidden is None else nn.Linear(width, dim)

    def forward(self, features: Tensor) -> Tensor:
        """Map ``(N, in_dim)`` to ``(N, dim)``."""
        x = torch.relu(self.input(features))
        for block in self.blocks:
            x = block(x)
        embedding: Tensor = self.output(x)
        return embedding


class _ResidualBlock(nn.Module):
    def __init__(self, dim: int, dropout: float) -> None:
        super().__init__()
        self.first = nn.Linear(dim, dim)
        self.dropout = Dropout(dropout)
        self.second = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.dropout(torch.relu(self.first(x)))
        return x + torch.relu(self.second(inner))


class BlockDiagonal(nn.Module):
    """A matrix for each of the equal parts of the features, then dropout and activation.

    With ``mix``, a linear layer joins the parts before dropout and activation. (Mai et al., ICLR
    2020: the parts are the radii of the theory encoding.)

    Args:
        in_dim: size of the position features.
        dim: size of the embedding.
        blocks: number of parts.
        mix: join the parts by a linear layer.
        activation: non-linearity.
        dropout: probability of dropping a unit.
        shared: how many of the last features are no part, but join every part (time).

    Raises:
        ValueError: the sizes are no multiples of ``blocks``.
    """

    def __init__(
        self,
        in_dim: int,
        dim: int,
        *,
        blocks: int = 16,
        mix: bool = False,
        activation: Activation | str = Activation.LEAKY_RELU,
        dropout: float = 0.5,
        shared: int = 0,
    ) -> None:
        super().__init__()
        _check_parts(in_dim - shared, blocks)
        _check_parts(dim, blocks)
        self.shared = shared
        width = (in_dim - shared) // blocks + shared
        self.parts = nn.Parameter(torch.empty(blocks, width, dim // blocks))
        nn.init.xavier_uniform_(self.parts)
        self.mix = nn.Linear(dim, dim) if mix else nn.Identity()
        self.dropout = Dropout(dropout)
        self.activation = Activation(activation).build()

    def forward(self, features: Tensor) -> Tensor:
        """Map ``(N, in_dim)`` to ``(N, dim)``."""
        parts = torch.stack(_parts(features, len(self.parts), self.shared))
        joined = (parts @ self.parts).transpose(0, 1).flatten(1)
        embedding: Tensor = self.activation(self.dropout(self.mix(joined)))
        return embedding


class Capsules(nn.Module):
    """The sum of one perceptron for each of the equal parts of the features.

    (Vivanco Cepeda et al., NeurIPS 2023: the parts are the scales of random Fourier features.)

    Args:
        in_dim: size of the position features.
        dim: size of the embedding.
        blocks: number of parts.
        hidden: width of the hidden layers.
        layers: number of hidden layers.
        dropout: probability of dropping a hidden unit.
        shared: how many of the last features are no part, but join every part (time).

    Raises:
        ValueError: the features do not divide into ``blocks``.
    """

    def __init__(
        self,
        in_dim: int,
        dim: int,
        *,
        blocks: int = 3,
        hidden: int = 1024,
        layers: int = 3,
        dropout: float = 0.0,
        shared: int = 0,
    ) -> None:
        super().__init__()
        _check_parts(in_dim - shared, blocks)
        self.shared = shared
        check_sizes(hidden=hidden, layers=layers)
        widths = [(in_dim - shared) // blocks + shared] + [hidden] * layers
        self.capsules = nn.ModuleList()
        for _ in range(blocks):
            steps: list[nn.Module] = []
            for before, after in pairwise(widths):
                steps += [nn.Linear(before, after), _ReLUDropout(dropout)]
            self.capsules.append(nn.Sequential(*steps, nn.Linear(widths[-1], dim)))

    def forward(self, features: Tensor) -> Tensor:
        """Map ``(N, in_dim)`` to ``(N, dim)``."""
        parts = _parts(features, len(self.capsules), self.shared)
        embedded = [capsule(part) for capsule, part in zip(self.capsules, parts, strict=True)]
        return torch.stack(embedded).sum(0)


class _ReLUDropout(nn.Module):
    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        dropped: Tensor = self.dropout(torch.relu(x))
        return dropped


def _parts(features: Tensor, blocks: int, shared: int) -> list[Tensor]:
    """Equal parts of the features, each with the shared last ones: ``blocks`` of ``(N, width)``."""
    own = features[:, : features.shape[1] - shared]
    rest = features[:, features.shape[1] - shared :]
    return [torch.cat([part, rest], dim=1) for part in own.chunk(blocks, dim=1)]


def check_sizes(*, hidden: int, layers: int) -> None:
    """Raise ValueError for layers without a width or a negative number of them."""
    if hidden < 1 or layers < 0:
        raise ValueError(
            f"need a width of at least 1 and no fewer than 0 layers or blocks, got "
            f"{hidden} and {layers}"
        )


def _check_parts(size: int, blocks: int) -> None:
    if blocks < 1 or size % blocks:
        raise ValueError(f"size {size} must be a multiple of the number of blocks, {blocks}")
