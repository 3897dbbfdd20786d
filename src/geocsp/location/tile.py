"""Tile: a table with one learned vector for each cell of a grid."""

from __future__ import annotations

import math
from typing import Unpack

import torch
from torch import Tensor, nn

from geocsp.location.angles import KM_PER_DEGREE
from geocsp.location.base import LocationEncoder
from geocsp.location.heads import Shared
from geocsp.registry import register


@register("location", "tile")
class Tile(LocationEncoder):
    """One learned vector for each cell of a grid of degrees (Tang et al., ICCV 2015).

    Features (``cell_dim``): the vector of the cell that holds the place. A step at each border of
    a cell; +180 and -180 are the same cell. Nothing is learned about cells without data.

    Args:
        dim: size of the embedding.
        degrees: width and height of a cell.
        cell_dim: size of the vectors.
        **shared: see :class:`geocsp.location.heads.Shared`.

    Raises:
        ValueError: cells without a size.
    """

    periodic = True
    single_pole = False

    def __init__(
        self,
        dim: int = 256,
        *,
        degrees: float = 5.0,
        cell_dim: int = 64,
        **shared: Unpack[Shared],
    ) -> None:
        if not 0 < degrees <= 360:
            raise ValueError(f"cells must be 0 to 360 degrees wide, got {degrees}")
        super().__init__(cell_dim, dim, **shared)
        self.degrees = degrees
        self.resolution_km = degrees * KM_PER_DEGREE
        self.columns, self.rows = math.ceil(360 / degrees), math.ceil(180 / degrees)
        self.cells = nn.Parameter(torch.randn(self.rows * self.columns, cell_dim) / cell_dim)

    def features(self, lonlat: Tensor) -> Tensor:
        """Return ``(N, cell_dim)``."""
        corner = lonlat.new_tensor([180.0, 90.0])
        column, row = ((lonlat + corner) / self.degrees).floor().long().unbind(1)
        column = torch.where(lonlat[:, 0] == 180, 0, column.clamp(max=self.columns - 1))
        return self.cells[row.clamp(max=self.rows - 1) * self.columns + column]
