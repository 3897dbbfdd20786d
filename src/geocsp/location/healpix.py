"""HEALPix hash grid: learned features at many resolutions of equal-area cells (ours)."""

from __future__ import annotations

import math
from typing import Unpack

import torch
from torch import Tensor, nn

from geocsp.coords import EARTH_RADIUS_KM
from geocsp.location.angles import arcsine
from geocsp.location.base import LocationEncoder
from geocsp.location.heads import Shared
from geocsp.registry import register

_PRIME = 2_654_435_761


@register("location", "healpix-hash")
class HealpixHash(LocationEncoder):
    """Learned vectors on HEALPix grids of doubling resolution, interpolated between cell centres.

    Level k = 0..levels-1 has 12 * 4^k cells of equal area (Gorski et al., ApJ 2005), each with a
    learned vector; a level with more cells than ``table`` shares vectors by hashing (Mueller et
    al., SIGGRAPH 2022). A place takes the two nearest centres on the ring of cells north and on
    that south of it, linear in longitude and in latitude. Features (levels * level_dim). Continuous
    everywhere, over the antimeridian too; a pole is the mean of the four cells around it. Can hold
    detail wherever there is data and says little where there is none.

    Args:
        dim: size of the embedding.
        levels: number of grids; the finest has cells of 6,500 km / 2^(levels - 1).
        level_dim: size of the vectors.
        table: most vectors of a level.
        **shared: see :class:`geocsp.location.heads.Shared`.

    Raises:
        ValueError: fewer than one level.
    """

    periodic = True
    single_pole = True

    def __init__(
        self,
        dim: int = 256,
        *,
        levels: int = 8,
        level_dim: int = 8,
        table: int = 2**16,
        **shared: Unpack[Shared],
    ) -> None:
        if min(levels, table) < 1:
            raise ValueError(f"need at least one level and vector, got {levels} and {table}")
        super().__init__(levels * level_dim, dim, **shared)
        cells = [12 * 4**level for level in range(levels)]
        self.tables = nn.ParameterList(
            nn.Parameter(torch.empty(min(count, table), level_dim).uniform_(-0.1, 0.1))
            for count in cells
        )
        self.resolution_km = EARTH_RADIUS_KM * math.sqrt(4 * math.pi / cells[-1])

    def features(self, lonlat: Tensor) -> Tensor:
        """Return ``(N, levels * level_dim)``, coarse to fine."""
        levels = []
        for level, vectors in enumerate(self.tables):
            cells, weights = neighbours(lonlat, 2**level)
            if 12 * 4**level > len(vectors):
                cells = (cells * _PRIME).bitwise_right_shift(8) % len(vectors)
            weights = weights.to(vectors.dtype)
            levels.append((vectors[cells] * weights.unsqueeze(-1)).sum(1))
        return torch.cat(levels, dim=1)


def neighbours(lonlat: Tensor, sides: int) -> tuple[Tensor, Tensor]:
    """Cells around places and their weights in an interpolation: ``(N, 4)`` each.

    Args:
        lonlat: ``(N, 2)`` float64 degrees.
        sides: cells along one side of each of the 12 faces (N_side).

    Returns:
        Cells in the ring order of HEALPix, in [0, 12 sides^2), and weights that sum to one. Two
        lie on the ring north of the place, two on that south of it; beyond the first and the last
        ring all four are of that ring, and the pole counts as their mean.
    """
    lat = lonlat[:, 1].deg2rad()
    turn = torch.remainder(lonlat[:, 0] / 360, 1.0)
    north = _ring_north_of(lat, sides)
    last = 4 * sides - 1
    rings = torch.stack([north, north + 1], 1)
    upper, lower = ring_latitude(rings, sides).unbind(1)
    share = ((upper - lat) / (upper - lower)).clamp(0, 1)
    weights = torch.stack([1 - share, share], 1)
    polar = (rings < 1) | (rings > last)  # a pole in place of a ring
    pole_share = (weights * polar).sum(1)
    weights = weights.masked_fill(polar, 0.0)
    inner = rings.clamp(1, last)
    start, length, offset = ring_cells(inner, sides)
    position = turn.unsqueeze(1) * length - offset
    west = position.floor()
    fraction = position - west
    opposite = 2 * polar  # the two cells that the ring at the pole has left
    pair = torch.stack([west, west + 1], 2).long() + opposite.unsqueeze(2)
    cells = start.unsqueeze(2) + torch.remainder(pair, length.unsqueeze(2))
    along = torch.stack([1 - fraction, fraction], 2)
    weight = (weights.unsqueeze(2) * along).flatten(1) + pole_share.unsqueeze(1) / 4
    return cells.flatten(1), weight


def _ring_north_of(lat: Tensor, sides: int) -> Tensor:
    """The last ring, from 1, at or north of latitudes in radians; 0 if there is none."""
    cap = math.sqrt(6) * sides  # a polar ring i has its centres at sin(colatitude / 2) = i / cap
    north = (cap * ((math.pi / 2 - lat) / 2).sin()).floor()
    south = 4 * sides - 1 - (cap * ((math.pi / 2 + lat) / 2).sin()).floor()
    middle = (sides * (2 - 1.5 * lat.sin())).floor()
    ring = torch.where(lat.sin() > 2 / 3, north, torch.where(lat.sin() < -2 / 3, south, middle))
    return ring.long().clamp(0, 4 * sides - 1)


def ring_latitude(ring: Tensor, sides: int) -> Tensor:
    """Latitude of the centres of rings, radians; ring 0 and ring 4 sides are the poles."""
    ring = ring.double()
    from_pole = torch.minimum(ring, 4 * sides - ring)
    polar = math.pi / 2 - 2 * arcsine((from_pole / (math.sqrt(6) * sides)).clamp(max=0.5))
    polar = torch.where(ring < 2 * sides, polar, -polar)
    middle = arcsine((4 / 3 - 2 * ring / (3 * sides)).clamp(-0.7, 0.7))
    return torch.where(from_pole < sides, polar, middle)


def ring_cells(ring: Tensor, sides: int) -> tuple[Tensor, Tensor, Tensor]:
    """First cell, number of cells, and longitude of the first centre in cells, of rings."""
    from_pole = torch.minimum(ring, 4 * sides - ring)
    length = 4 * from_pole.clamp(max=sides)
    polar = 2 * from_pole * (from_pole - 1)
    polar = torch.where(ring < 2 * sides, polar, 12 * sides**2 - polar - length)
    start = torch.where(from_pole < sides, polar, 2 * sides * (sides - 1) + (ring - sides) * length)
    shifted = (from_pole >= sides) & ((ring - sides) % 2 == 1)
    return start, length, torch.where(shifted, 0.0, 0.5).to(torch.float64)
