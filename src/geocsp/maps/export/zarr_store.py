"""Cells as a zarr store of version 3, with coordinates by the CF conventions.

https://zarr-specs.readthedocs.io/en/latest/v3/core/index.html and
https://cfconventions.org/cf-conventions/cf-conventions.html
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geocsp import __version__
from geocsp.errors import DataError, MissingExtraError
from geocsp.maps.export.blocks import Blocks
from geocsp.maps.export.cells import CellType
from geocsp.maps.export.durable import sync
from geocsp.maps.export.progress import OnProgress
from geocsp.maps.export.store import Store

VALUES = "values"
"""The array of the numbers."""
_SETTINGS = "geocsp"
_WGS84: dict[str, Any] = {
    "grid_mapping_name": "latitude_longitude",
    "semi_major_axis": 6378137.0,
    "inverse_flattening": 298.257223563,
    "longitude_of_prime_meridian": 0.0,
}


@dataclass(frozen=True)
class ZarrStore(Store):
    """Blocks as chunks of a zarr array."""

    def __post_init__(self) -> None:
        try:
            import zarr  # noqa: F401
        except ImportError as error:
            raise MissingExtraError("zarr", "geo") from error
        if self.content.cells.type is CellType.INT8:
            raise DataError(
                "int8 has a scale for every band, which zarr cannot say; write float16, or a .tif"
            )

    @staticmethod
    def settings_in(path: Path) -> dict[str, Any] | None:
        """The settings that an output was written with; None if it is not one of these."""
        try:
            about = json.loads((path / "zarr.json").read_text(encoding="utf-8"))
            settings: dict[str, Any] = about["attributes"][_SETTINGS]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return settings

    @property
    def needed_bytes(self) -> int:
        """Space for everything."""
        return self.content.bytes

    @property
    def _path(self) -> Path:
        return self.folder / "values.zarr"

    @property
    def exists(self) -> bool:
        """Whether there is a place for blocks."""
        return self._path.exists()

    def create(self) -> None:
        """Make a place for blocks: the store without its chunks."""
        import zarr

        unfinished = self._path.with_name(f"{self._path.name}.new")
        shutil.rmtree(unfinished, ignore_errors=True)
        cells, grid, size = self.content.cells, self.content.grid, self.content.blocks.size
        root = zarr.create_group(
            unfinished,
            zarr_format=3,
            attributes={
                "Conventions": "CF-1.11",
                "title": cells.title,
                "source": f"geocsp {__version__}",
                _SETTINGS: self.content.settings,
            },
        )
        bands = (cells.bands,) * len(cells.axis)
        root.create_array(
            VALUES,
            shape=(*grid.shape, *bands),
            chunks=(*(min(size, length) for length in grid.shape), *bands),
            dtype=cells.type.value,
            fill_value=cells.type.nodata or 0,
            dimension_names=("lat", "lon", *cells.axis),
            attributes={"long_name": cells.title, "grid_mapping": "crs"},
        )
        for name, (values, about) in self._coordinates().items():
            root.create_array(name, data=values, dimension_names=(name,), attributes=about)
        root.create_array("crs", shape=(), dtype="int32", attributes=_WGS84)
        unfinished.replace(self._path)

    def _coordinates(self) -> dict[str, tuple[NDArray[Any], dict[str, Any]]]:
        """Values and attributes of the coordinates of every axis."""
        cells, grid = self.content.cells, self.content.grid
        lat = {"standard_name": "latitude", "units": "degrees_north", "axis": "Y"}
        lon = {"standard_name": "longitude", "units": "degrees_east", "axis": "X"}
        bands = {"long_name": "number of the band", "names": list(cells.names)}
        return {
            "lat": (grid.latitudes.numpy(), lat),
            "lon": (grid.longitudes.numpy(), lon),
            **{name: (np.arange(cells.bands), bands) for name in cells.axis},
        }

    def writer(self) -> ChunkWriter:
        """What writes blocks; it travels to other processes."""
        return ChunkWriter(self._path / VALUES, self.content.blocks, self.content.cells.is_flat)

    def finish(self, report: OnProgress | None) -> Path:
        """The store as it is."""
        return self._path


@dataclass(frozen=True)
class ChunkWriter:
    """Writes blocks as chunks.

    Attributes:
        path: of the array.
        blocks: its chunks.
        is_flat: it has no axis of bands.
    """

    path: Path
    blocks: Blocks
    is_flat: bool

    def write(self, block: int, values: NDArray[Any]) -> None:
        """Write a block, and wait until it is on the disk.

        Args:
            block: its number, row by row.
            values: ``(height, width, bands)``.
        """
        import zarr

        array: Any = zarr.open_array(self.path, mode="r+").with_config({"write_empty_chunks": True})
        array[self.blocks.window(block)] = values[:, :, 0] if self.is_flat else values
        chunk = (*divmod(block, self.blocks.across), *(() if self.is_flat else (0,)))
        sync(self.path / array.metadata.encode_chunk_key(chunk))
