"""What is written into a cell: an embedding or another quantity, as numbers of some type."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from geocsp.embed.vectors import column_names
from geocsp.errors import DataError
from geocsp.maps.grid import Grid
from geocsp.models import LocationModel

_CELLS_PER_CALL = 8192
_SCALE_CELLS = 16_384
"""Cells that the scale of 8-bit numbers is measured on."""
_HEADROOM = 1.25
_INT8_LIMIT = 127


class CellType(StrEnum):
    """Numbers in the file."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    """Three decimal digits, up to 65,504."""
    INT8 = "int8"
    """Value over a scale of its band, rounded; GeoTIFF only."""
    UINT8 = "uint8"
    """Whole numbers from 0 to 255, such as colours."""

    @property
    def stored(self) -> np.dtype[Any]:
        """The type on disk, little-endian."""
        return np.dtype(self.value).newbyteorder("<")

    @property
    def nodata(self) -> float | None:
        """The number that no cell has."""
        if self is CellType.UINT8:
            return None
        return -128.0 if self is CellType.INT8 else float("nan")


class Quantity(Protocol):
    """Something that has a value at every place."""

    def of(self, lonlat: Tensor) -> Tensor:
        """Values of ``(N, 2)`` degrees on the CPU: ``(N,)`` or ``(N, bands)``."""
        ...


@dataclass(frozen=True, eq=False)
class Embedding:
    """The embedding of a model, as a quantity.

    Attributes:
        model: the model.
        normalise: scale every embedding to unit length.
    """

    model: LocationModel
    normalise: bool = False

    @property
    def title(self) -> str:
        """What it is."""
        return "location embedding of unit length" if self.normalise else "location embedding"

    def of(self, lonlat: Tensor) -> Tensor:
        """Embeddings of ``(N, 2)`` degrees, ``(N, D)`` float32, on the CPU."""
        device = next(self.model.parameters()).device
        vectors = self.model.embed(lonlat.to(device)).float()
        return (F.normalize(vectors, dim=1) if self.normalise else vectors).cpu()


@dataclass(frozen=True, eq=False)
class Cells:
    """How the numbers of cells are made.

    Attributes:
        quantity: what is computed.
        type: numbers in the file.
        bands: numbers in a cell.
        is_flat: the quantity has no axis of bands.
        scale: ``(bands,)`` what a step of 8-bit numbers means; None for other types.
    """

    quantity: Quantity
    type: CellType
    bands: int
    is_flat: bool
    scale: NDArray[np.float64] | None = None

    @classmethod
    def of(cls, quantity: Quantity, grid: Grid, type_: CellType | None) -> Self:
        """Find out about a quantity by its values in some cells of the grid.

        Args:
            quantity: what is computed.
            grid: the cells.
            type_: numbers in the file; by default float16 for embeddings, uint8 for what is uint8
                already, float32 for the rest.

        Raises:
            DataError: the quantity and the type do not fit, or values are not finite.
        """
        first = quantity.of(grid.centres(slice(1), slice(1)))
        is_bytes = first.dtype is torch.uint8
        if not (is_bytes or first.is_floating_point()):
            raise DataError(
                f"values of type {first.dtype} cannot be averaged in overviews; only floating "
                "point numbers and 8-bit colours can be written"
            )
        default = CellType.FLOAT16 if isinstance(quantity, Embedding) else CellType.FLOAT32
        type_ = type_ or (CellType.UINT8 if is_bytes else default)
        if is_bytes is not (type_ is CellType.UINT8):
            kind = "8-bit numbers already" if is_bytes else "not 8-bit numbers from 0 to 255"
            raise DataError(f"the values are {kind}, so they cannot be written as {type_.value}")
        cells = cls(quantity, type_, first[0].numel(), first.ndim == 1)
        if type_ is not CellType.INT8:
            return cells
        largest = np.abs(cells.sample(grid, _SCALE_CELLS)).max(axis=0)
        scale = _HEADROOM * np.where(largest > 0, largest, 1.0).astype(np.float64) / _INT8_LIMIT
        return cells.with_scale(scale)

    @property
    def title(self) -> str:
        """What the quantity is."""
        return str(getattr(self.quantity, "title", type(self.quantity).__name__))

    @property
    def names(self) -> tuple[str, ...]:
        """What each band is."""
        if isinstance(self.quantity, Embedding):
            return tuple(column_names(self.bands))
        if self.is_colour:
            return ("red", "green", "blue")
        return (self.title,) if self.bands == 1 else tuple(column_names(self.bands, "band"))

    @property
    def is_colour(self) -> bool:
        """The bands are red, green and blue."""
        return self.type is CellType.UINT8 and self.bands == 3

    @property
    def axis(self) -> tuple[str, ...]:
        """Name of the axis of bands, if there is one."""
        if self.is_flat:
            return ()
        return ("embedding",) if isinstance(self.quantity, Embedding) else ("band",)

    @property
    def device(self) -> torch.device:
        """Where it is computed: where its ``model`` is, or what it says of its ``device``."""
        model = getattr(self.quantity, "model", None)
        if isinstance(model, nn.Module):
            return next(model.parameters()).device
        return torch.device(getattr(self.quantity, "device", "cpu"))

    def with_scale(self, scale: NDArray[np.float64] | None) -> Self:
        """The same with another scale."""
        return type(self)(self.quantity, self.type, self.bands, self.is_flat, scale)

    def sample(self, grid: Grid, count: int) -> NDArray[Any]:
        """Values in about ``count`` cells spread over a grid, ``(n, bands)``, not converted."""
        rows, columns = grid.shape
        stride = max(1, int((rows * columns / count) ** 0.5))
        start = stride // 2 if min(rows, columns) > stride // 2 else 0
        spread = slice(start, None, stride)
        return self._values(grid.centres(spread, spread))

    def compute(self, lonlat: Tensor) -> tuple[NDArray[Any], int]:
        """Numbers for the file.

        Args:
            lonlat: ``(N, 2)`` degrees.

        Returns:
            ``(N, bands)``, and how many had to be cut to the range of 8-bit numbers.

        Raises:
            DataError: a value that is not finite, or too large for the type.
        """
        stored, clipped = np.empty((len(lonlat), self.bands), dtype=self.type.stored), 0
        for start in range(0, len(lonlat), _CELLS_PER_CALL):
            part = lonlat[start : start + _CELLS_PER_CALL]
            into = stored[start : start + _CELLS_PER_CALL]
            values = self._values(part)
            if self.scale is not None:
                steps = np.rint(values / self.scale.astype(values.dtype))
                clipped += int((np.abs(steps) > _INT8_LIMIT).sum())
                values = steps.clip(-_INT8_LIMIT, _INT8_LIMIT)
            with np.errstate(over="ignore"):
                into[...] = values
            if self.type is CellType.FLOAT16:
                _check_finite(into, part, "too large for float16; write float32")
        return stored, clipped

    @torch.no_grad()
    def _values(self, lonlat: Tensor) -> NDArray[Any]:
        values: NDArray[Any] = self.quantity.of(lonlat).reshape(len(lonlat), -1).numpy()
        if values.shape[1] != self.bands:
            raise DataError(f"the quantity has {values.shape[1]} bands, before {self.bands}")
        if values.dtype.kind == "f":
            _check_finite(values, lonlat, "not finite; check the weights of the model")
        return values


def _check_finite(values: NDArray[Any], lonlat: Tensor, problem: str) -> None:
    finite = np.isfinite(values).all(axis=1)
    if not finite.all():
        lon, lat = lonlat[int(np.argmin(finite))].tolist()
        raise DataError(f"a value at lon {lon:g}, lat {lat:g} is {problem}")
