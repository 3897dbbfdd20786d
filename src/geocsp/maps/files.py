"""Maps as files, by how their names end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from pathlib import Path

from geocsp.errors import DataError
from geocsp.maps.raster import Raster

_LONGEST_NAME = 120
"""Bytes of a file name, without its ending."""


class MapFormat(StrEnum):
    """What a file of a map holds."""

    PNG = "png"
    """A picture."""
    TIF = "tif"
    """Cloud-Optimised GeoTIFF."""
    GEOJSON = "geojson"
    """Polygons."""
    GPKG = "gpkg"
    """Polygons."""


def format_of(path: Path) -> MapFormat:
    """The format that the end of a name stands for.

    Raises:
        DataError: it stands for none.
    """
    try:
        return MapFormat(path.suffix.lower().removeprefix(".").replace("tiff", "tif"))
    except ValueError:
        raise DataError(
            f"{path.name} names no map; end it with .png (picture), .tif (GeoTIFF), .geojson or "
            ".gpkg (polygons)"
        ) from None


def write_map(
    raster: Raster,
    path: Path,
    *,
    levels: Sequence[float] | None = None,
    title: str | None = None,
) -> int | None:
    """Write a map as picture, GeoTIFF or polygons, by the end of its name.

    Args:
        raster: the map.
        path: the file.
        levels: of polygons; by default some round ones.
        title: of a picture; by default what the values are.

    Returns:
        The number of polygons; None if it has none.

    Raises:
        DataError: a name of another kind, or colours as polygons.
        MissingExtraError: a library is not installed.
        OSError: the file cannot be written.
    """
    kind = format_of(path)
    if kind is MapFormat.PNG:
        from geocsp.maps.pictures import write_picture

        write_picture(raster, path, title)
        return None
    if kind is MapFormat.TIF:
        from geocsp.maps.geotiff import write_geotiff

        write_geotiff(raster, path)
        return None
    from geocsp.maps.contours import write_polygons

    return write_polygons(raster, path, levels)


def safe_names(names: Iterable[str]) -> list[str]:
    """File names for texts, all different also where case does not count, without ending."""
    taken: set[str] = set()
    found = []
    for name in names:
        plain = "".join(c if c.isalnum() else "-" for c in name)
        plain = "-".join(part for part in plain.split("-") if part)
        plain = plain.encode()[:_LONGEST_NAME].decode(errors="ignore") or "class"
        unique, count = plain, 1
        while unique.casefold() in taken:
            count += 1
            unique = f"{plain}-{count}"
        taken.add(unique.casefold())
        found.append(unique)
    return found
