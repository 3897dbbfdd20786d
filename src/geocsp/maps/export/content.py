"""What an export writes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from geocsp.maps.export.blocks import Blocks, block_size
from geocsp.maps.export.cells import Cells
from geocsp.maps.grid import Grid


@dataclass(frozen=True, eq=False)
class Content:
    """What a file holds.

    Attributes:
        grid: its cells.
        cells: what is in them.
        settings: all that it is made with.
    """

    grid: Grid
    cells: Cells
    settings: dict[str, Any]

    @property
    def blocks(self) -> Blocks:
        """How the grid is cut."""
        size = block_size(self.cells.bands, self.cells.type.stored.itemsize)
        return Blocks(self.grid.shape, size)

    @property
    def bytes(self) -> int:
        """Size of all blocks, those at the edges as large as the others."""
        numbers = len(self.blocks) * self.blocks.size**2 * self.cells.bands
        return numbers * self.cells.type.stored.itemsize

    def as_begun(self, settings: dict[str, Any]) -> Self:
        """The same with the settings, and so the scale, that earlier blocks were written with."""
        scale = settings["scale"]
        cells = self.cells.with_scale(None if scale is None else np.array(scale))
        return type(self)(self.grid, cells, settings)
