"""Cells as a Cloud-Optimised GeoTIFF.

Blocks are tiles of a plain TIFF in a work folder. When all are there, coarser copies are averaged
beside it, each under the name that GDAL expects of overviews of the one before, and GDAL's COG
driver (https://gdal.org/drivers/raster/cog.html) compresses all of them into the file.
"""

from __future__ import annotations

import json
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
from geocsp.maps.export.memory import zeroed_memory
from geocsp.maps.export.progress import Meter, OnProgress, Stage
from geocsp.maps.export.store import Store
from geocsp.maps.export.tiles import TiledFile

_SETTINGS = "GEOCSP_SETTINGS"
_GDAL_CACHE = 2**27
_MOST_BANDS = 65_535


@dataclass(frozen=True)
class CogStore(Store):
    """Blocks on their way into a Cloud-Optimised GeoTIFF."""

    def __post_init__(self) -> None:
        try:
            import rasterio  # noqa: F401
        except ImportError as error:
            raise MissingExtraError("rasterio", "geo") from error
        if self.content.cells.bands > _MOST_BANDS:
            raise DataError(f"a GeoTIFF has at most {_MOST_BANDS:,} bands; write zarr")

    @staticmethod
    def settings_in(path: Path) -> dict[str, Any] | None:
        """The settings that an output was written with; None if it is not one of these."""
        import rasterio
        from rasterio.errors import RasterioError

        try:
            with rasterio.open(path) as file:
                settings: dict[str, Any] = json.loads(file.tags()[_SETTINGS])
        except (RasterioError, KeyError, ValueError):
            return None
        return settings

    @property
    def needed_bytes(self) -> int:
        """Space for everything: blocks and overviews, and the same again compressed."""
        return self.content.bytes * 8 // 3

    @property
    def _tiles(self) -> TiledFile:
        cells = self.content.cells
        return TiledFile(self.folder / "values.tif", self.content.blocks, cells.type, cells.bands)

    @property
    def exists(self) -> bool:
        """Whether there is a place for blocks."""
        return self._tiles.path.exists()

    def create(self) -> None:
        """Make a place for blocks."""
        cells = self.content.cells
        self._tiles.create(
            tags={
                "TITLE": cells.title,
                "GEOCSP_VERSION": __version__,
                _SETTINGS: json.dumps(self.content.settings),
            },
            names=cells.names,
            scales=None if cells.scale is None else cells.scale.tolist(),
            crs="EPSG:4326",
            transform=self.content.grid.transform,
            photometric="RGB" if cells.is_colour else "MINISBLACK",
        )

    def writer(self) -> TiledFile:
        """What writes blocks; it travels to other processes."""
        return self._tiles

    def finish(self, report: OnProgress | None) -> Path:
        """Put the file together, in the work folder."""
        import rasterio
        import rasterio.shutil
        from rasterio.errors import RasterioError

        self._overviews(report)
        Meter(Stage.FILE, 0, 0, report)
        path = self.folder / "finished.tif"
        path.unlink(missing_ok=True)
        try:
            with rasterio.Env(GDAL_CACHEMAX=_GDAL_CACHE), zeroed_memory():
                rasterio.shutil.copy(
                    self._tiles.path,
                    path,
                    driver="COG",
                    **({"nbits": 16} if self.content.cells.type is CellType.FLOAT16 else {}),
                    blocksize=self.content.blocks.size,
                    compress="DEFLATE",
                    level=1,  # more of it gains 5 % of size for twice the time
                    predictor="YES",
                    overviews="FORCE_USE_EXISTING",
                    bigtiff="IF_SAFER",
                    num_threads="ALL_CPUS",
                )
        except RasterioError as error:
            raise RuntimeError(f"cannot write {path}: {error}") from error
        sync(path)
        return path

    def _overviews(self, report: OnProgress | None) -> None:
        finer, levels = self._tiles, []
        while max(finer.blocks.shape) > finer.blocks.size:
            rows, columns = finer.blocks.shape
            blocks = Blocks((-(-rows // 2), -(-columns // 2)), finer.blocks.size)
            path = finer.path.with_name(f"{finer.path.name}.ovr")
            coarser = TiledFile(path, blocks, finer.type, finer.bands)
            levels.append((finer, coarser))
            finer = coarser
        meter = Meter(Stage.OVERVIEWS, 0, sum(len(level.blocks) for _, level in levels), report)
        for finer, coarser in levels:
            coarser.create()
            for tile in range(len(coarser.blocks)):
                coarser.write(tile, _averaged(finer, coarser.blocks, tile))
                meter.advance(1)


def _averaged(finer: TiledFile, blocks: Blocks, tile: int) -> NDArray[Any]:
    """A tile of which every cell is the mean of its up to four cells in the finer file."""
    down, right = divmod(tile, blocks.across)
    rows = [
        np.concatenate([finer.read(number) for number in numbers], axis=1)
        for numbers in finer.blocks.square(2 * down, 2 * right)
    ]
    values = np.concatenate(rows)
    height, width, bands = values.shape
    values = np.pad(values, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    squares = values.reshape(-(-height // 2), 2, -(-width // 2), 2, bands)
    mean: NDArray[Any] = squares.mean(axis=(1, 3), dtype=np.float32)
    return mean if finer.type.stored.kind == "f" else np.rint(mean)
