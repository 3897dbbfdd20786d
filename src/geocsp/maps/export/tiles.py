"""A plain tiled TIFF whose tiles are written in place, by any number of processes."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geocsp.maps.export.blocks import Blocks
from geocsp.maps.export.cells import CellType
from geocsp.maps.export.durable import write_at

HALF: dict[str, Any] = {"dtype": "float32", "nbits": 16}
"""What GDAL calls float16."""


@dataclass(frozen=True)
class TiledFile:
    """Uncompressed tiles of a TIFF, all bands of a cell together.

    The file has its full length from the start, so that writing a tile touches nothing else: a
    process that dies spoils no other tile, and several may write at once.

    Attributes:
        path: the file.
        blocks: its tiles.
        type: numbers in it.
        bands: numbers in a cell.
    """

    path: Path
    blocks: Blocks
    type: CellType
    bands: int

    def create(
        self,
        *,
        tags: Mapping[str, str] | None = None,
        names: Sequence[str] = (),
        scales: Sequence[float] | None = None,
        **profile: Any,
    ) -> None:
        """Make the file, under its name only once it is whole.

        Args:
            tags: its metadata.
            names: of the bands.
            scales: what a step of each band means.
            **profile: further settings of ``rasterio.open``.
        """
        import rasterio
        from rasterio.errors import NotGeoreferencedWarning

        rows, columns = self.blocks.shape
        unfinished = self.path.with_name(f"{self.path.name}.new")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            rasterio.open(
                unfinished,
                "w",
                driver="GTiff",
                **(HALF if self.type is CellType.FLOAT16 else {"dtype": self.type.value}),
                width=columns,
                height=rows,
                count=self.bands,
                tiled=True,
                blockxsize=self.blocks.size,
                blockysize=self.blocks.size,
                interleave="pixel",
                endianness="little",
                bigtiff="yes",
                **profile,
            ).close()
            with rasterio.open(unfinished, "r+") as file:  # at once, it would be filled with it
                file.nodata = self.type.nodata
                file.update_tags(**(tags or {}))
                if names:
                    file.descriptions = names
                if scales is not None:
                    file.scales = scales
        unfinished.replace(self.path)

    @property
    def _shape(self) -> tuple[int, int, int]:
        return self.blocks.size, self.blocks.size, self.bands

    @property
    def _tile_bytes(self) -> int:
        return int(np.prod(self._shape)) * self.type.stored.itemsize

    @cached_property
    def _start(self) -> int:
        """Where the tiles begin; they lie one after the other."""
        import rasterio
        from rasterio.errors import NotGeoreferencedWarning

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(self.path) as file:
                return int(file.get_tag_item("BLOCK_OFFSET_0_0", "TIFF", 1))

    def write(self, tile: int, values: NDArray[Any]) -> None:
        """Write a tile, and wait until it is on the disk.

        Args:
            tile: its number, row by row.
            values: ``(height, width, bands)``, as much as there is of the tile.
        """
        whole = values
        if values.shape != self._shape:
            height, width, _ = values.shape
            padding = ((0, self.blocks.size - height), (0, self.blocks.size - width), (0, 0))
            whole = np.pad(values, padding, mode="edge")
        content = np.ascontiguousarray(whole, dtype=self.type.stored)
        write_at(self.path, self._start + tile * self._tile_bytes, content.data)

    def read(self, tile: int) -> NDArray[Any]:
        """A tile, ``(height, width, bands)``, as much as there is of it."""
        rows, columns = self.blocks.window(tile)
        start = self._start + tile * self._tile_bytes
        count = int(np.prod(self._shape))
        whole = np.fromfile(self.path, self.type.stored, count, offset=start).reshape(self._shape)
        return whole[: rows.stop - rows.start, : columns.stop - columns.start]
