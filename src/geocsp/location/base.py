"""What every location encoder shares: validation, precise trigonometry, then a network."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from typing import Self

import torch
from torch import Tensor, nn

from geocsp.coords import check_lonlat


class LocationEncoder(nn.Module):
    """A position encoding followed by a network: places in, embeddings out.

    A subclass writes only :meth:`features`. It gets float64 degrees and returns the fixed
    encoding, before any learned layer.

    Args:
        network: maps ``(N, feature_dim)`` to ``(N, dim)``.
        dim: size of the embedding.

    Attributes:
        dim: size of the embedding.
        periodic: whether the encoding is continuous over the antimeridian.
        single_pole: whether every longitude gives the same value at a pole.
    """

    periodic: bool
    single_pole: bool

    def __init__(self, network: nn.Module, dim: int) -> None:
        super().__init__()
        self.network = network
        self.dim = dim

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move buffers between devices, but keep their type: scales stay exact in any precision."""
        exact = dict(self.named_buffers(recurse=False))
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name, buffer in exact.items():
            setattr(self, name, buffer.to(getattr(self, name).device))
        return self

    @abstractmethod
    def features(self, lonlat: Tensor) -> Tensor:
        """Position features of ``(N, 2)`` float64 degrees: ``(N, feature_dim)``."""

    def forward(self, lonlat: Tensor) -> Tensor:
        """Embed places.

        Args:
            lonlat: ``(N, 2)`` degrees, longitude first, any floating point type.

        Returns:
            ``(N, dim)`` in the type of the network's weights (or of autocast).

        Raises:
            ValueError: a row is missing, out of range, or the shape is wrong.
        """
        check_lonlat(lonlat)
        with torch.autocast(lonlat.device.type, enabled=False):
            features = self.features(lonlat.double())
        weight = next(self.network.parameters())
        embedding: Tensor = self.network(features.to(weight.dtype))
        return embedding


def geometric_radii(count: int, smallest: float, largest: float) -> Tensor:
    """Radii from ``smallest`` to ``largest`` in a geometric series: ``(count,)`` float64.

    Raises:
        ValueError: fewer than one radius, or radii that are not positive and ordered.
    """
    if count < 1 or not 0 < smallest <= largest:
        raise ValueError(
            f"need count >= 1 and 0 < smallest <= largest, got {count}, {smallest}, {largest}"
        )
    if count == 1:
        return torch.tensor([smallest], dtype=torch.float64)
    steps = torch.arange(count, dtype=torch.float64) / (count - 1)
    return smallest * (largest / smallest) ** steps


def sin_cos(angle: Tensor) -> Tensor:
    """Interleaved ``[sin, cos]`` in a new last axis, exact for large float64 angles.

    The angle is reduced to one turn in float64 and only then handed to float32 trigonometry.
    """
    turn = torch.remainder(angle, 2 * math.pi).float()
    return torch.stack([turn.sin(), turn.cos()], dim=-1)
