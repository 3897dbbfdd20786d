"""Maps as Cloud-Optimised GeoTIFF."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geocsp.errors import MissingExtraError
from geocsp.files import write_atomically
from geocsp.maps.quantities import Colours
from geocsp.maps.raster import Raster

TAG = "GEOCSP"
"""Tag of the file that holds the settings as JSON."""


def write_geotiff(raster: Raster, path: Path) -> Path:
    """Write the values of a map, one cell a pixel, north up.

    Numbers are float32 with NaN where cells are left out; colours are red, green, blue and
    opacity; classes are their numbers, whose names are in the settings under "classes", and the
    highest number of the type where cells are left out. All settings are in the tag ``GEOCSP``.

    Raises:
        MissingExtraError: rasterio is not installed.
        OSError: the file cannot be written.
    """
    try:
        from rasterio.io import MemoryFile
    except ImportError as error:
        raise MissingExtraError("rasterio", "geo") from error
    bands, nodata = _bands(raster)
    rows, columns = raster.grid.shape
    profile = {
        "driver": "COG",
        "width": columns,
        "height": rows,
        "count": len(bands),
        "dtype": bands.dtype,
        "nodata": nodata,
        "crs": "EPSG:4326",
        "transform": raster.grid.transform,
        "compress": "deflate",
        "resampling": "average" if bands.dtype.kind == "f" else "nearest",
    }
    with MemoryFile() as memory:
        with memory.open(**profile) as file:
            file.write(bands)
            file.update_tags(**{TAG: json.dumps(_settings(raster))})
            _name_bands(file, raster)
        return write_atomically(path, memory.getbuffer())


def _bands(raster: Raster) -> tuple[NDArray[Any], float | None]:
    """Numbers ``(bands, rows, columns)``, and the one where cells are left out."""
    if isinstance(raster.quantity, Colours):
        opacity = np.where(raster.shown, 255, 0).astype(np.uint8)
        return np.concatenate([raster.values.transpose(2, 0, 1), opacity[None]]), None
    if not raster.names:
        return raster.values[None], float("nan")
    kind = np.uint8 if len(raster.names) < 255 else np.uint16
    nodata = np.iinfo(kind).max
    return np.where(raster.shown, raster.values, nodata).astype(kind)[None], float(nodata)


def _settings(raster: Raster) -> dict[str, Any]:
    return raster.settings | ({"classes": list(raster.names)} if raster.names else {})


def _name_bands(file: Any, raster: Raster) -> None:
    from rasterio.enums import ColorInterp

    if isinstance(raster.quantity, Colours):
        names = ("red", "green", "blue", "alpha")
        file.colorinterp = [ColorInterp[name] for name in names]
        file.descriptions = names
        return
    file.descriptions = [raster.quantity.title]
    if raster.quantity.unit:
        file.units = [raster.quantity.unit]
