"""Values in all cells of a grid, which pictures, GeoTIFF and vectors are made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geocsp import __version__
from geocsp.errors import DataError
from geocsp.maps.grid import WORLD, Grid
from geocsp.maps.natural_earth import on_land
from geocsp.maps.quantities import Colours, Quantity
from geocsp.models import LocationModel, fingerprint_of
from geocsp.times import times_of

MOST_CELLS = 2**26
_CELLS_AT_ONCE = 2**16

_STEPS = (5.0, 2.0, *(round(s * 10.0**-p, 6) for p in range(5) for s in (1.0, 0.5, 0.2)))
_ACROSS = 500

OnCells = Callable[[int, int], None]
"""Is told how many cells of how many are done."""


@dataclass(frozen=True, eq=False)
class Raster:
    """Values of a quantity at the centres of cells.

    Attributes:
        grid: the cells.
        quantity: what the values are.
        values: ``(rows, columns)`` float32, NaN in cells that are left out; of a quantity with
            names int64, -1 there; of colours ``(rows, columns, 3)`` uint8, 0 there.
        shown: ``(rows, columns)`` which cells are not left out.
        settings: what it was made with.
    """

    grid: Grid
    quantity: Quantity | Colours
    values: NDArray[Any]
    shown: NDArray[np.bool_]
    settings: dict[str, Any]

    @property
    def names(self) -> tuple[str, ...]:
        """What the values are numbers of; nothing if they are numbers themselves, or colours."""
        return () if isinstance(self.quantity, Colours) else self.quantity.names

    @classmethod
    def compute(
        cls,
        quantity: Quantity | Colours,
        grid: Grid,
        *,
        moment: datetime | None = None,
        land_only: bool = False,
        settings: dict[str, Any] | None = None,
        on_cells: OnCells | None = None,
    ) -> Self:
        """Compute the values of all cells.

        Args:
            quantity: what to compute.
            grid: the cells.
            moment: date and hour, for models that take them. With a time zone it is one moment for
                all places, whose local solar hours differ; without one, the same local hour in
                all places.
            land_only: leave out cells whose centre is on water.
            settings: of the model, see :func:`settings_of`; those of the map are added.
            on_cells: called now and then.

        Raises:
            DataError: too many cells, values that are not finite, or the model takes no time.
        """
        rows, columns = grid.shape
        if rows * columns > MOST_CELLS:
            raise DataError(
                f"{rows:,} x {columns:,} cells are too many for one map, at most "
                f"{MOST_CELLS:,}; take a larger step or narrower bounds"
            )
        shown = np.zeros(rows * columns, dtype=bool)
        parts: list[NDArray[Any]] = []
        height = max(1, _CELLS_AT_ONCE // columns)
        for top in range(0, rows, height):
            places = grid.centres(slice(top, top + height))
            here = on_land(places.numpy()) if land_only else np.ones(len(places), dtype=bool)
            shown[top * columns : top * columns + len(here)] = here
            parts.append(_values(quantity, places, here, moment))
            if on_cells is not None:
                on_cells(top * columns + len(here), rows * columns)
        values = np.concatenate(parts)
        facts = {
            "quantity": quantity.title,
            "bounds": [float(edge) for edge in grid.bounds],
            "step": float(grid.step),
            "time": None if moment is None else moment.isoformat(),
            "land_only": land_only,
        }
        return cls(
            grid,
            quantity,
            values.reshape(rows, columns, *values.shape[1:]),
            shown.reshape(rows, columns),
            {"geocsp": __version__} | (settings or {}) | facts,
        )


def suitable_grid(bounds: str | tuple[float, float, float, float] = WORLD) -> Grid:
    """A grid over a window, of the largest round step that makes its longer side 500 cells.

    Raises:
        DataError: no window.
    """
    for step in _STEPS:
        try:
            grid = Grid.of(step, bounds)
        except DataError:
            if step == _STEPS[-1]:
                raise
        else:
            if max(grid.shape) >= _ACROSS or step == _STEPS[-1]:
                break
    return grid


def settings_of(model: LocationModel, source: str) -> dict[str, Any]:
    """What names a model: where it was read from, its kind, and the fingerprint of its weights."""
    return {"model": source, "kind": model.kind, "fingerprint": fingerprint_of(model)}


def _values(
    quantity: Quantity | Colours,
    places: Tensor,
    shown: NDArray[np.bool_],
    moment: datetime | None,
) -> NDArray[Any]:
    """Values of some cells, filled up where they are left out."""
    chosen = places[torch.from_numpy(shown)]
    try:
        found = quantity.of(chosen, _times(moment, chosen)).numpy()
    except ValueError as error:  # of the model: it takes no time
        raise DataError(str(error)) from error
    if not np.isfinite(found).all():
        lon, lat = chosen[int(np.argmin(np.isfinite(found)))].tolist()
        raise DataError(
            f"the value at lon {lon:g}, lat {lat:g} is not finite; check the weights of the model"
        )
    empty = np.nan if found.dtype.kind == "f" else 0 if isinstance(quantity, Colours) else -1
    values = np.full((len(places), *found.shape[1:]), empty, dtype=found.dtype)
    values[shown] = found
    return values


def _times(moment: datetime | None, places: Tensor) -> Tensor | None:
    if moment is None:
        return None
    if moment.tzinfo is None:
        return times_of([moment]).expand(len(places), -1)
    return times_of([moment] * len(places), places[:, 0])
