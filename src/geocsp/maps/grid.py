"""Regular grids of longitude and latitude."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from geocsp.coords import wrap
from geocsp.errors import DataError, MissingExtraError

WORLD = (-180.0, -90.0, 180.0, 90.0)
"""West, south, east, north."""
_SLACK = 1e-6
"""What counts as a whole number of cells: steps such as 0.05 have no exact binary form."""
_DECIMALS = 10


@dataclass(frozen=True)
class Grid:
    """Square cells, in degrees, that cover a window; row 0 is the northernmost.

    A window over the antimeridian has its west above its east, such as 170 to -170; it is kept
    with an east beyond 180, here 190. :meth:`of` takes any window.

    Args:
        step: width and height of a cell, degrees.
        west: western edge, degrees; from 180 on it is turned back by 360.
        south: southern edge, at least -90.
        east: eastern edge, at most 360 from the western one.
        north: northern edge, at most 90.

    Raises:
        DataError: edges that are out of range or not a whole number of steps apart.
    """

    step: float
    west: float = WORLD[0]
    south: float = WORLD[1]
    east: float = WORLD[2]
    north: float = WORLD[3]

    def __post_init__(self) -> None:
        _check_step(self.step)
        west, south, east, north = _unrolled((self.west, self.south, self.east, self.north))
        object.__setattr__(self, "west", west)
        object.__setattr__(self, "east", east)
        for name, length in (("wide", east - west), ("high", north - south)):
            cells = length / self.step
            if cells < 1 - _SLACK or abs(cells - round(cells)) > _SLACK:
                raise DataError(
                    f"a window {length:g} degrees {name} is not whole cells of {self.step:g} "
                    "degrees; Grid.of widens a window to whole cells"
                )

    @classmethod
    def of(cls, step: float, bounds: str | tuple[float, float, float, float] = WORLD) -> Self:
        """The cells that touch a window.

        Edges of cells are whole steps from 180° W and 90° S, so that all grids of one step share
        their cells; a window is widened to such edges.

        Args:
            step: width and height of a cell, degrees.
            bounds: west, south, east and north, degrees, or text such as ``"-10,35,5,44"``.

        Raises:
            DataError: no window, one smaller than a cell, or one whose cells would reach over a
                pole or around the globe, because the step does not divide 180 degrees.
        """
        _check_step(step)
        west, south, east, north = _unrolled(_parsed(bounds) if isinstance(bounds, str) else bounds)
        if step > min(east - west, north - south) + _SLACK * step:
            raise DataError(
                f"cells of {step:g} degrees are larger than the window of {east - west:g} x "
                f"{north - south:g} degrees; use a step of {min(east - west, north - south):g} or "
                "less"
            )
        first, bottom = (math.floor(edge / step + _SLACK) for edge in (west + 180, south + 90))
        last, top = (math.ceil(edge / step - _SLACK) for edge in (east + 180, north + 90))
        around = 360 / step
        if abs(around - round(around)) <= _SLACK:
            last = min(last, first + round(around))
        if top * step > 180 + _SLACK * step or (last - first) * step > 360 + _SLACK * step:
            raise DataError(
                f"cells of {step:g} degrees do not divide 180 degrees, so they would reach over "
                f"the pole or around the globe; use a step of {180 / round(180 / step):.10g}, or "
                "narrower bounds"
            )
        edges = (first * step - 180, bottom * step - 90, last * step - 180, top * step - 90)
        return cls(step, *(round(edge, _DECIMALS) for edge in edges))

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        rows = round((self.north - self.south) / self.step)
        return rows, round((self.east - self.west) / self.step)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east (beyond 180 if the window crosses the antimeridian) and north."""
        return self.west, self.south, self.east, self.north

    @property
    def longitudes(self) -> Tensor:
        """Centres of the columns, rising, ``(columns,)`` float64; beyond 180 as the east is."""
        columns = torch.arange(self.shape[1], dtype=torch.float64)
        return -180.0 + (_whole((self.west + 180.0) / self.step) + columns + 0.5) * self.step

    @property
    def latitudes(self) -> Tensor:
        """Centres of the rows, falling, ``(rows,)`` float64."""
        rows = torch.arange(self.shape[0], dtype=torch.float64).flip(0)
        return -90.0 + (_whole((self.south + 90.0) / self.step) + rows + 0.5) * self.step

    def centres(self, rows: slice | None = None, columns: slice | None = None) -> Tensor:
        """Centres of cells, row by row from the north, each from west to east.

        Args:
            rows: some rows; all if left out.
            columns: some columns; all if left out.

        Returns:
            ``(n, 2)`` float64 degrees, longitude first, in [-180, 180).
        """
        lat = self.latitudes[rows or slice(None)]
        lon = self.longitudes[columns or slice(None)]
        pairs = [lon.expand(len(lat), -1), lat[:, None].expand(-1, len(lon))]
        return wrap(torch.stack(pairs, dim=2).reshape(-1, 2))

    @property
    def transform(self) -> Any:
        """Affine transform of rasterio from column and row to degrees, north up.

        Raises:
            MissingExtraError: rasterio is not installed.
        """
        try:
            from rasterio import Affine
        except ImportError as error:
            raise MissingExtraError("rasterio", "geo") from error
        return Affine(self.step, 0.0, self.west, 0.0, -self.step, self.north)


def _check_step(step: float) -> None:
    if not (math.isfinite(step) and step > 0):
        raise DataError(f"the step of a grid must be a positive number of degrees, got {step:g}")


def _parsed(text: str) -> tuple[float, float, float, float]:
    try:
        west, south, east, north = (float(part) for part in text.split(","))
    except ValueError:
        raise DataError(
            f"bounds must be west,south,east,north in degrees, such as -10,35,5,44; got {text!r}"
        ) from None
    return west, south, east, north


def _unrolled(bounds: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    """Bounds with west in [-180, 180) and east above it."""
    west, south, east, north = map(float, bounds)
    shown = f"bounds {west:g},{south:g},{east:g},{north:g}"
    if not all(map(math.isfinite, (west, south, east, north))) or max(-west, -east) > 180:
        raise DataError(f"{shown}: west, south, east and north must be degrees from -180 on")
    if not -90 <= south < north <= 90:
        raise DataError(f"{shown}: south must be below north, both in [-90, 90] degrees")
    if west >= 180:
        west, east = west - 360, east - 360 if east > 180 else east
    east = east + 360 if east < west else east
    if not west < east <= west + 360 + _SLACK:
        raise DataError(f"{shown}: a window must be more than 0 and at most 360 degrees wide")
    return west, south, east, north


def _whole(cells: float) -> float:
    """A number of cells, exact if it is whole, so that equal cells have equal centres."""
    return float(round(cells)) if abs(cells - round(cells)) <= _SLACK else cells
