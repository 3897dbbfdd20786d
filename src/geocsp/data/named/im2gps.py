"""Im2GPS and Im2GPS3k, the test sets of image geolocation.

Places are in ``im2gps_places365.csv`` and ``im2gps3k_places365.csv``, columns IMG_ID, AUTHOR, LAT,
LON and scenes (Müller-Budack et al., ECCV 2018, https://github.com/TIBHannover/GeoEstimation;
the authors have withdrawn their repository, copies of the files are around). Images are to be had
at http://graphics.cs.cmu.edu/projects/im2gps/ and
https://github.com/lugiavn/revisiting-im2gps; those of Im2GPS are named by a place and a number
before the IMG_ID.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from geocsp.data.assemble import assemble
from geocsp.data.images import FileImages
from geocsp.data.named.records import NUMBER, TEXT, read_records
from geocsp.data.named.release import Release, first_folder, texts_of
from geocsp.data.options import ReadOptions
from geocsp.data.table import Categories, GeoTable
from geocsp.registry import register

_PAGE = "https://github.com/TIBHannover/GeoEstimation"


@register("layout", "im2gps")
def im2gps(root: Path, options: ReadOptions) -> GeoTable:
    """Im2GPS: 237 photos and their places; photographers are the groups.

    Args:
        root: the folder with ``im2gps_places365.csv`` and the images, in ``images/`` or beside it.
        options: how to read.

    Raises:
        DataError: a file is missing or damaged.
    """
    return _read(root, options, "Im2GPS", "im2gps", ("images", "im2gps", "gps_query_imgs"))


@register("layout", "im2gps3k")
def im2gps3k(root: Path, options: ReadOptions) -> GeoTable:
    """Im2GPS3k: 2,997 photos and their places; photographers are the groups.

    Args:
        root: the folder with ``im2gps3k_places365.csv`` and the images, in ``images/``,
            ``im2gps3ktest/`` or beside it.
        options: how to read.

    Raises:
        DataError: a file is missing or damaged.
    """
    return _read(root, options, "Im2GPS3k", "im2gps3k", ("images", "im2gps3ktest", "im2gps3k"))


def _read(
    root: Path, options: ReadOptions, title: str, name: str, folders: tuple[str, ...]
) -> GeoTable:
    path = Release(f"the list of places of {title}", _PAGE).file(root, f"{name}_places365.csv")
    required = {"IMG_ID": TEXT, "LAT": NUMBER, "LON": NUMBER}
    records = read_records([path], required, {"AUTHOR": TEXT})
    folder = Path(options.folder or root / first_folder(root, *folders, "."))
    authors = records.first("AUTHOR")
    return assemble(
        FileImages(_names(folder, records.columns["IMG_ID"]), str(folder), options.bands),
        records.lonlat("LON", "LAT"),
        split=Categories.of(["test"] * len(records)),
        group=Categories.of(authors) if authors is not None else None,
        problems=records.problems,
        origin=records.origin,
        keep_unplaced=options.keep_unplaced,
    )


def _names(folder: Path, names: pa.ChunkedArray) -> pa.ChunkedArray:
    """File names: as listed, or with what stands before them in the folder if that is unique."""
    there = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    listed = names.to_pylist()
    return texts_of(_named(name, there) if name else None for name in listed)


def _named(name: str, there: set[str]) -> str:
    if name in there:
        return name
    longer = [other for other in there if other.endswith(f"_{name}")]
    return longer[0] if len(longer) == 1 else name
