"""SINR: wrapped coordinates, and the environment there if a raster of it is given."""

from __future__ import annotations

from typing import Unpack

import torch
from torch import Tensor
from torch.nn import functional as F

from geocsp.errors import DataError
from geocsp.location.angles import KM_PER_DEGREE
from geocsp.location.base import LocationEncoder
from geocsp.location.heads import Head, Shared
from geocsp.location.wrap import wrapped
from geocsp.registry import register


@register("location", "sinr")
class SINR(LocationEncoder):
    """Input and network of SINR (Cole et al., ICML 2023).

    Features (4 + bands): wrapped coordinates as in ``wrap``, then, if there is one, every band of
    a global raster of environment (bioclimate, elevation) by bilinear interpolation. Its outermost
    values lie on the borders of the map. Continuous over the antimeridian where the raster is.

    Args:
        dim: size of the embedding.
        environment: (rows, columns, bands) of the raster, None for coordinates alone. The raster
            itself is the buffer ``raster``, zero until it is filled by :meth:`set_environment`.
        coordinates: include the wrapped coordinates.
        **shared: see :class:`geocsp.location.heads.Shared`; the network is residual.

    Raises:
        ValueError: neither coordinates nor environment.
    """

    default_head = Head.RESIDUAL
    periodic = True
    single_pole = False

    def __init__(
        self,
        dim: int = 256,
        *,
        environment: tuple[int, int, int] | None = None,
        coordinates: bool = True,
        **shared: Unpack[Shared],
    ) -> None:
        if not (environment or coordinates):
            raise ValueError("an encoder needs coordinates, environment or both")
        self.coordinates = coordinates
        rows, columns, bands = environment or (1, 1, 0)
        self.resolution_km = 360 / max(1, columns - 1) * KM_PER_DEGREE
        super().__init__(4 * coordinates + bands, dim, **shared)
        self.register_buffer("raster", torch.zeros(bands, rows, columns))
        self.raster: Tensor

    def set_environment(self, raster: Tensor) -> None:
        """Fill the raster.

        Args:
            raster: ``(rows, columns, bands)``, rows from 90 N to 90 S, columns from 180 W to
                180 E; not a number (sea) counts as 0, the mean of standardised bands.

        Raises:
            ValueError: the shape is not what the encoder was made for, or it holds infinity.
        """
        bands, rows, columns = self.raster.shape
        if raster.shape != (rows, columns, bands):
            raise ValueError(
                f"environment must have shape {(rows, columns, bands)}, got {tuple(raster.shape)}"
            )
        self.raster.copy_(bands_of(raster))

    def features(self, lonlat: Tensor) -> Tensor:
        """Return ``(N, 4 + bands)``."""
        parts = [wrapped(lonlat)] if self.coordinates else []
        if len(self.raster):
            flipped = lonlat / lonlat.new_tensor([180.0, -90.0])
            grid = flipped.to(self.raster.dtype).view(1, 1, -1, 2)
            sampled = F.grid_sample(
                self.raster.unsqueeze(0), grid, padding_mode="border", align_corners=True
            )
            parts.append(sampled[0, :, 0].T.to(lonlat.dtype))
        return torch.cat(parts, dim=1)


def bands_of(environment: Tensor) -> Tensor:
    """A raster ``(rows, columns, bands)`` as an encoder keeps it: ``(bands, rows, columns)``.

    Raises:
        DataError: it holds infinite numbers.
    """
    if bool(environment.isinf().any()):
        raise DataError("environment holds infinite numbers; say NaN where it is unknown")
    return environment.float().movedim(-1, 0).nan_to_num(0.0).contiguous()
