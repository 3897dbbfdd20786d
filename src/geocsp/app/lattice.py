"""Values of all pixels of a tile, of which smooth parts are interpolated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from geocsp.app.mercator import SIDE, Tile

Floats = NDArray[np.floating[Any]]


def sample_tile(
    values: Callable[[Tensor], Floats], tile: Tile, step: int, tolerance: float
) -> Floats:
    """Values at the centres of a tile's pixels.

    They are computed ``step`` pixels apart, then half as far. Where the latter are within the
    tolerance of what lies linearly between the former, what is left between is interpolated too;
    elsewhere the same is done again at half the distance. With a step of 1 all are computed.

    Lattices of neighbouring tiles continue each other.

    Args:
        values: of ``(N, 2)`` places, ``(N,)`` or ``(N, K)``.
        tile: which.
        step: a power of 2, at most 16.
        tolerance: in units of the values.

    Returns:
        ``(256, 256)`` or ``(256, 256, K)``.
    """
    if step == 1:
        rows, columns = np.indices((SIDE, SIDE))
        found = values(tile.places(rows.ravel(), columns.ravel()))
        return found.reshape(SIDE, SIDE, *found.shape[1:])
    side = SIDE // step
    rows, columns = np.indices((side + 1, side + 1)) * step
    found = values(tile.places(rows.ravel(), columns.ravel())).astype(np.float64)
    lattice = found.reshape(side + 1, side + 1, *found.shape[1:])
    open_cells = np.ones((side, side), bool)
    while step > 1:
        step //= 2
        lattice = _doubled(lattice)
        rows, columns = np.nonzero(_between(open_cells))
        if len(rows) == 0:
            open_cells = open_cells.repeat(2, 0).repeat(2, 1)
            continue
        exact = values(tile.places(rows * step, columns * step))
        error = np.zeros(lattice.shape[:2])
        error[rows, columns] = abs(exact - lattice[rows, columns]).reshape(len(rows), -1).max(1)
        lattice[rows, columns] = exact
        rough = _around(open_cells & (_largest(error) > tolerance))
        open_cells = rough.repeat(2, 0).repeat(2, 1)
    return lattice[:SIDE, :SIDE]


def _doubled(lattice: Floats) -> Floats:
    """A lattice with linear values between its own: n + 1 nodes become 2n + 1."""
    side = 2 * lattice.shape[0] - 1
    finer = np.empty((side, side, *lattice.shape[2:]))
    finer[::2, ::2] = lattice
    finer[1::2, ::2] = (lattice[1:] + lattice[:-1]) / 2
    finer[:, 1::2] = (finer[:, 2::2] + finer[:, :-2:2]) / 2
    return finer


def _between(cells: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Nodes of the lattice of half the step on the edges and in the middle of these cells."""
    side = len(cells)
    nodes = np.zeros((2 * side + 1, 2 * side + 1), bool)
    nodes[1::2, 1::2] = cells
    for shift in (slice(None, -2, 2), slice(2, None, 2)):
        nodes[shift, 1::2] |= cells
        nodes[1::2, shift] |= cells
    return nodes


def _largest(error: Floats) -> Floats:
    """Largest of the 3 x 3 nodes of each cell."""
    along = np.maximum(np.maximum(error[:-2:2], error[1::2]), error[2::2])
    largest: Floats = np.maximum(np.maximum(along[:, :-2:2], along[:, 1::2]), along[:, 2::2])
    return largest


def _around(cells: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """These cells and those that touch them."""
    wide = np.pad(cells, 1)
    near = wide[:-2] | wide[1:-1] | wide[2:]
    touched: NDArray[np.bool_] = near[:, :-2] | near[:, 1:-1] | near[:, 2:]
    return touched
