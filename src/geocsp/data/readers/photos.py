"""Folders of photos and GeoTIFF chips."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np
import pyarrow as pa

from geocsp.data.assemble import assemble
from geocsp.data.geotag.chips import centre, is_raster
from geocsp.data.geotag.clock import times_at
from geocsp.data.geotag.exif import Geotag, geotag
from geocsp.data.images import FileImages
from geocsp.data.options import ReadOptions
from geocsp.data.quarantine import Problem
from geocsp.data.readers.walk import Walk
from geocsp.data.table import Categories, GeoTable
from geocsp.errors import DataError, MissingExtraError
from geocsp.images.pictures import open_picture, quiet

_COMPANIONS = re.compile(
    r"\.(aae|cfg|csv|db|geojson|gpx|html?|ini|ipynb|jsonl?|km[lz]|log|md5?|msk|ndjson|ovr|pdf|pp3|prj"
    r"|py|rst|sh|sha256|ti?fw|tsv|txt|wld|xml|xmp|ya?ml)$",
    re.IGNORECASE,
)
"""What lies beside photos and is not expected to be one."""
_CAMERA_RAW = re.compile(
    r"\.(3fr|arw|cr[23w]|dng|iiq|nef|nrw|orf|pef|raf|rw2|sr2|srw)$", re.IGNORECASE
)
_RASTER = re.compile(r"\.(tiff?|jp2)$", re.IGNORECASE)
_NO_PLACE = "no GPS coordinates in EXIF or XMP"
_LARGEST_SIDECAR = 2**23


def read_photos(folder: Path, options: ReadOptions) -> GeoTable:
    """Read a folder of photos and GeoTIFF chips, with all folders in it, into a table.

    The place of a photo is in its EXIF or XMP, or in an XMP file beside it (``a.xmp`` or
    ``a.jpg.xmp``); that of a GeoTIFF is its middle. The folders at the first level are the
    labels. What a file is called does not matter, its content decides; what lies beside photos,
    such as texts and tables, is passed over, and every other file that is no photo with a place
    is in ``table.problems``. No pixels are decoded.

    Args:
        folder: the folder.
        options: of which ``bands``, ``keep_unplaced``, and the ``crs`` of rasters that name none
            matter here.

    Raises:
        OSError: the folder cannot be listed.
    """
    walk = Walk(folder, lambda name: _COMPANIONS.search(name) is not None)
    sidecars = {
        f"{name[:-4]}.xmp": folder / name for name in walk.ignored if name.lower().endswith(".xmp")
    }
    tags: dict[str, Geotag] = {}
    problems = walk.problems
    with quiet():
        for name in walk.names:
            beside = sidecars.get(f"{name}.xmp") or sidecars.get(_with_ending(name, ".xmp"))
            tag, reason = _judge(folder / name, beside, options)
            if tag is not None:
                tags[name] = tag
            elif reason is not None:
                problems.append(Problem(name, None, reason))
    problems.sort(key=lambda problem: problem.file)
    links = f"{walk.repeated} links to what is in the folder anyway were left out"
    return _table(folder, tags, problems, [links] if walk.repeated else [], options)


def _table(
    folder: Path,
    tags: Mapping[str, Geotag],
    problems: Sequence[Problem],
    notes: Sequence[str],
    options: ReadOptions,
) -> GeoTable:
    names = list(tags)
    lonlat = np.array([(tag.lon, tag.lat) for tag in tags.values()]).reshape(-1, 2)
    classes = [name.partition("/")[0] if "/" in name else None for name in names]
    return assemble(
        FileImages(pa.chunked_array([pa.array(names, pa.string())]), str(folder), options.bands),
        lonlat,
        time=times_at([tag.moment for tag in tags.values()], lonlat[:, 0]),
        label=Categories.of(classes) if any(classes) else None,
        problems=problems,
        notes=notes,
        reasons={
            row: tag.reason
            for row, tag in enumerate(tags.values())
            if tag.reason and not tag.placed
        },
        keep_unplaced=options.keep_unplaced,
    )


def _judge(
    path: Path, sidecar: Path | None, options: ReadOptions
) -> tuple[Geotag | None, str | None]:
    """The tag of a photo to keep, or None and why."""
    try:
        tag = _look(path, sidecar, options.crs)
    except (DataError, MissingExtraError) as error:
        return None, str(error)
    except OSError as error:
        return None, f"cannot be opened: {error.strerror or error}"
    if tag.placed or options.keep_unplaced:
        return tag, None
    lacking = f"no georeference, and {_NO_PLACE}" if _RASTER.search(path.name) else _NO_PLACE
    return None, tag.reason or lacking


def _look(path: Path, sidecar: Path | None, crs: str | None) -> Geotag:
    if _CAMERA_RAW.search(path.name):
        raise DataError("is a camera's raw file, which is not developed here; export it as JPEG")
    with path.open("rb") as file:
        start = file.read(16)
    if not is_raster(start):
        return _look_at_photo(path, sidecar)
    try:
        place = centre(path, crs)
    except (DataError, MissingExtraError) as error:  # it may still be a photo with EXIF
        return _second_look(path, sidecar, error)
    if place is not None:
        return Geotag(*place)
    try:
        return _look_at_photo(path, sidecar)
    except DataError:  # bands that make no picture, without a place
        return Geotag()


def _second_look(path: Path, sidecar: Path | None, error: Exception) -> Geotag:
    try:
        tag = _look_at_photo(path, sidecar)
    except DataError:
        raise DataError(str(error)) from error
    return tag if tag.placed else replace(tag, reason=str(error))


def _look_at_photo(path: Path, sidecar: Path | None) -> Geotag:
    with open_picture(path) as picture:
        tag = geotag(picture)
        if tag.plausible or sidecar is None:
            return tag
        return geotag(picture, _content(sidecar))


def _content(sidecar: Path) -> bytes:
    try:
        with sidecar.open("rb") as file:
            return file.read(_LARGEST_SIDECAR)
    except OSError as error:
        raise DataError(f"{sidecar.name} beside it cannot be opened: {error.strerror}") from error


def _with_ending(name: str, ending: str) -> str:
    return str(PurePosixPath(name).with_suffix(ending))
