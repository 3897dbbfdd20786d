"""NABirds and Birdsnap with places, as published for geographical priors.

Annotations: ``nabirds_with_loc_2019.json`` and ``birdsnap_with_loc_2019.json`` of
https://homepages.inf.ed.ac.uk/omacaod/projects/geopriors/, ``{"train": [...], "val": [...],
"test": [...], "classes": [...]}`` with ``{"class_id", "im_path", "valid_image", "ebird_meta":
{"lon", "lat", "date", "user_id"}}`` for each image, and "orig_meta" besides in Birdsnap
(https://github.com/macaodha/geo_prior, ``make_birdsnap_dataset.py``). Dates are fractions of the
year.

The places of "ebird_meta" are not those of the photos: they were drawn from eBird checklists that
list the same species.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from geocsp.data.named.dates import year_fractions
from geocsp.data.named.listed import ListedSplit, table_of
from geocsp.data.named.release import (
    Release,
    clean,
    first_folder,
    number_of,
    read_json,
    text_of,
    texts_of,
)
from geocsp.data.options import ReadOptions
from geocsp.data.quarantine import Problem
from geocsp.data.table import GeoTable
from geocsp.errors import DataError
from geocsp.registry import register

_PAGE = "https://homepages.inf.ed.ac.uk/omacaod/projects/geopriors/"


@register("layout", "nabirds")
def nabirds(root: Path, options: ReadOptions) -> GeoTable:
    """NABirds, 555 classes, with places drawn from eBird.

    Args:
        root: the folder with ``nabirds_with_loc_2019.json`` and ``images/``.
        options: how to read.

    Raises:
        DataError: a file is missing or damaged.
    """
    path = Release("NABirds with places", _PAGE).file(root, "nabirds_with_loc_2019.json")
    return _read(path, "ebird_meta", options)


@register("layout", "birdsnap")
def birdsnap(root: Path, options: ReadOptions) -> GeoTable:
    """Birdsnap, 500 species, with the places of the photos themselves where they are known.

    Args:
        root: the folder with ``birdsnap_with_loc_2019.json`` and ``images/`` or ``images_sm/``.
        options: how to read.

    Raises:
        DataError: a file is missing or damaged.
    """
    path = Release("Birdsnap with places", _PAGE).file(root, "birdsnap_with_loc_2019.json")
    return _read(path, "orig_meta", options)


@register("layout", "birdsnap-ebird")
def birdsnap_ebird(root: Path, options: ReadOptions) -> GeoTable:
    """Birdsnap with places drawn from eBird.

    Args:
        root: the folder with ``birdsnap_with_loc_2019.json`` and ``images/`` or ``images_sm/``.
        options: how to read.

    Raises:
        DataError: a file is missing or damaged.
    """
    path = Release("Birdsnap with places", _PAGE).file(root, "birdsnap_with_loc_2019.json")
    return _read(path, "ebird_meta", options)


def _read(path: Path, meta: str, options: ReadOptions) -> GeoTable:
    whole = read_json(path)
    if not isinstance(whole, dict) or not isinstance(whole.get("classes"), list):
        raise DataError(f"{path} has no list of classes; is it the file of the data set?")
    class_names = tuple(clean(str(name)) for name in whole["classes"])
    parts = [
        _part(path, split, whole[split], meta, len(class_names))
        for split in ("train", "val", "test")
        if isinstance(whole.get(split), list)
    ]
    if not parts:
        raise DataError(f"{path} has none of the lists train, val and test")
    folder = options.folder or str(path.parent / first_folder(path.parent, "images", "images_sm"))
    return table_of(parts, class_names, folder, options)


def _part(path: Path, split: str, images: list[Any], meta: str, classes: int) -> ListedSplit:
    listed = [row for row, record in enumerate(images) if not _is_missing(record)]
    usable = [n for n, row in enumerate(listed) if _is_usable(images[row], classes)]
    unusable = sorted({*listed} - {listed[n] for n in usable})
    records = [images[listed[n]] for n in usable]
    places = [_place(record, meta) for record in records]
    pairs = [(number_of(place.get("lon")), number_of(place.get("lat"))) for place in places]
    lonlat = np.array(pairs, dtype=np.float64).reshape(-1, 2)
    users = [text_of(place.get("user_id")) for place in places]
    time, notes = year_fractions(place.get("date") for place in places)
    known = np.array([user is not None for user in users], dtype=np.bool_)
    missing = len(images) - len(listed)
    return ListedSplit(
        split=split,
        file=path,
        length=len(listed),
        rows=np.array([listed[n] for n in usable], dtype=np.int64),
        positions=np.array(usable, dtype=np.int64),
        trained=known & ~np.isnan(lonlat[:, 0]) & ~np.isnan(time[:, 0]),
        names=texts_of(record.get("im_path") for record in records),
        lonlat=lonlat,
        time=time,
        codes=np.array([record["class_id"] for record in records], dtype=np.int64),
        users=users,
        problems=[Problem(str(path), row, f"{split}: no image with a class") for row in unusable],
        notes=[
            *notes,
            *([f"{missing} images of {split} are marked as missing"] if missing else []),
        ],
    )


def _is_missing(record: object) -> bool:
    """Whether the authors could not get the image, so that features have no row for it."""
    return isinstance(record, dict) and not record.get("valid_image", True)


def _is_usable(record: object, classes: int) -> bool:
    number = record.get("class_id") if isinstance(record, dict) else None
    return isinstance(number, int) and 0 <= number < classes


def _place(record: dict[str, Any], meta: str) -> dict[str, Any]:
    place = record.get(meta)
    return place if isinstance(place, dict) else {}
