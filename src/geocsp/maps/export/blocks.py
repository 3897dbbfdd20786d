"""Blocks of cells, and which of them are done."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geocsp.errors import DataError
from geocsp.files import write_atomically
from geocsp.maps.export.durable import write_at

_SIZES = (512, 256, 128)
_BYTES = 2**23
"""Of a block, if the smallest size allows it."""


def block_size(bands: int, item_bytes: int) -> int:
    """Width and height of a block in cells: at most 8 MB, but at least 128 cells."""
    fits = [size for size in _SIZES if size * size * bands * item_bytes <= _BYTES]
    return max(fits, default=_SIZES[-1])


@dataclass(frozen=True)
class Blocks:
    """Squares that a raster is cut into, row by row from its first corner.

    Attributes:
        shape: rows and columns of the raster.
        size: width and height of a square; those at the far edges are cut off.
    """

    shape: tuple[int, int]
    size: int

    @property
    def across(self) -> int:
        """Squares in a row of them."""
        return -(-self.shape[1] // self.size)

    def __len__(self) -> int:
        return -(-self.shape[0] // self.size) * self.across

    def window(self, block: int) -> tuple[slice, slice]:
        """Rows and columns of a square."""
        down, right = divmod(block, self.across)
        rows, columns = self.shape
        return (
            slice(down * self.size, min((down + 1) * self.size, rows)),
            slice(right * self.size, min((right + 1) * self.size, columns)),
        )

    def square(self, down: int, right: int) -> list[list[int]]:
        """Up to two by two squares from one on, given by how many are above and left of it."""
        rows = range(down, min(down + 2, len(self) // self.across))
        columns = range(right, min(right + 2, self.across))
        return [[row * self.across + column for column in columns] for row in rows]

    def cells(self, block: int) -> int:
        """Number of cells in a square."""
        rows, columns = self.window(block)
        return int((rows.stop - rows.start) * (columns.stop - columns.start))


@dataclass(frozen=True)
class Journal:
    """A file that says which blocks are done; a block is entered once it is safe on the disk.

    It holds a 64-bit number for every block: zero until it is done, then one more than the
    numbers in it that had to be cut to the range of 8 bits.

    Attributes:
        path: the file.
        blocks: their number.
    """

    path: Path
    blocks: int

    def create(self) -> None:
        """Make the file, with no block done."""
        write_atomically(self.path, bytes(8 * self.blocks))

    def entries(self) -> NDArray[np.int64]:
        """What is entered for every block, ``(blocks,)``.

        Raises:
            DataError: the file is damaged.
        """
        content = self.path.read_bytes()
        if len(content) != 8 * self.blocks:
            raise DataError(f"{self.path} is damaged; delete {self.path.parent} and run again")
        return np.frombuffer(content, dtype="<i8").astype(np.int64)

    def enter(self, block: int, clipped: int) -> None:
        """Note that a block is done."""
        write_at(self.path, 8 * block, (clipped + 1).to_bytes(8, "little"))
