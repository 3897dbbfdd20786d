"""Embeddings of places as numbers for other programs."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from geocsp.data.table import Floats
from geocsp.errors import DataError
from geocsp.location import LocationEncoder

NAME = "embedding"
"""How columns of embeddings are called, before their number."""


class Dtype(StrEnum):
    """The numbers of an embedding."""

    FLOAT16 = "float16"
    """Three decimal digits, up to 65,504: half the size."""
    FLOAT32 = "float32"
    """Seven decimal digits: as the encoder gives them."""

    @classmethod
    def _missing_(cls, value: object) -> Dtype:
        raise DataError(f"no dtype {value!r}; there are: {', '.join(cls)}")


def column_names(dim: int, name: str = NAME) -> list[str]:
    """Names of the columns of an embedding: ``embedding_000``, ``embedding_001`` and so on."""
    width = max(3, len(str(dim - 1)))
    return [f"{name}_{number:0{width}}" for number in range(dim)]


def embed_places(
    encoder: LocationEncoder,
    lonlat: Floats,
    time: Floats | None = None,
    *,
    normalise: bool = False,
    dtype: Dtype = Dtype.FLOAT32,
) -> NDArray[Any]:
    """Embed places where the encoder's weights are.

    Args:
        encoder: location encoder with embeddings of size D.
        lonlat: ``(N, 2)`` degrees, longitude first.
        time: ``(N, 2)`` date and hour, NaN where unknown, for encoders that take them.
        normalise: scale every embedding to unit length.
        dtype: the numbers of the result.

    Returns:
        ``(N, D)`` float32 or float16.

    Raises:
        DataError: a place or time out of range, or an embedding too large for float16.
    """
    device = next(encoder.parameters()).device
    moments = None if time is None else torch.from_numpy(time).to(device)
    try:
        vectors = encoder.embed(torch.from_numpy(lonlat).to(device), moments).float()
    except ValueError as error:
        raise DataError(str(error)) from None
    vectors = F.normalize(vectors, dim=1) if normalise else vectors
    if dtype is Dtype.FLOAT32:
        return vectors.cpu().numpy()
    halves = vectors.half().cpu().numpy()
    if not np.isfinite(halves).all():
        row = int(np.flatnonzero(~np.isfinite(halves).all(axis=1))[0])
        lon, lat = lonlat[row].tolist()
        raise DataError(
            f"the embedding of lon {lon:g}, lat {lat:g} does not fit float16; take float32, or "
            "scale it to unit length"
        )
    return halves
