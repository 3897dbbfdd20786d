"""Lists of images in COCO's format with places beside them, as iNaturalist's and CSP's.

An annotation file is ``{"images": [{"id", "file_name"}], "annotations": [{"image_id",
"category_id"}], "categories": [{"id", "name"}]}`` (https://github.com/visipedia/inat_comp); a
file of places is a list of ``{"id", "lat", "lon", "date_c", "user_id"}``, null where unknown, with
``date_c`` the fraction of the year (https://github.com/macaodha/geo_prior, ``load_inat_data``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from geocsp.data.named.dates import dates_and_hours, year_fractions
from geocsp.data.named.listed import ListedSplit, table_of
from geocsp.data.named.release import Classes, number_of, read_json, text_of, texts_of
from geocsp.data.options import ReadOptions
from geocsp.data.quarantine import Problem
from geocsp.data.table import Floats, GeoTable
from geocsp.errors import DataError

_LISTS = {"images", "annotations", "categories"}
_FACTS = {"id", "file_name", "image_id", "category_id", "name", "date", "date_c", "user_id"}
_KEEP = frozenset(_LISTS | _FACTS | {"lat", "lon", "latitude", "longitude"})


@dataclass(frozen=True)
class Listing:
    """The files of one split.

    Attributes:
        split: its name.
        annotations: images, classes and annotations.
        places: places, dates and users; None: they are in ``annotations``.
    """

    split: str
    annotations: Path
    places: Path | None = None


def read_listings(
    listings: Sequence[Listing],
    folder: str,
    options: ReadOptions,
    *,
    classes: Classes | None = None,
    notes: Sequence[str] = (),
) -> GeoTable:
    """Read all splits of a data set into one table.

    Classes have the order of their official numbers and are all there, so that column c of
    predictions is class c. Images without an annotation have no label, users are the groups. Where
    the list has no file name, the id of the image stands for it.

    Args:
        listings: the splits.
        folder: what file names are relative to.
        options: how to read.
        classes: the official classes; None: what the annotation files say.
        notes: what to tell besides.

    Raises:
        DataError: a file cannot be read, or is of another kind.
    """
    contents = [_content(listing) for listing in listings]
    known = classes or Classes.of(pair for content in contents for pair in content.categories)
    parts = [_part(content, known) for content in contents]
    return table_of(parts, known.names, options.folder or folder, options, notes=notes)


@dataclass(frozen=True)
class _Content:
    listing: Listing
    images: list[Any]
    category_of: Mapping[object, object]
    categories: list[tuple[object, object]]
    places: Mapping[object, dict[str, Any]] | None


def _content(listing: Listing) -> _Content:
    path = listing.annotations
    whole = read_json(path, _KEEP)
    images = whole.get("images") if isinstance(whole, dict) else None
    if not isinstance(images, list):
        raise DataError(f"{path} has no list of images; is it an annotation file of the data set?")
    annotations = _records(whole.get("annotations"), "image_id")
    category_of = {record["image_id"]: record.get("category_id") for record in annotations}
    categories = _records(whole.get("categories"), "id")
    names = [(record["id"], record.get("name", record["id"])) for record in categories]
    if listing.places is None:
        return _Content(listing, images, category_of, names, None)
    found = read_json(listing.places, _KEEP)
    if not isinstance(found, list):
        raise DataError(f"{listing.places} is no list of places, as that of the data set is")
    places = {record["id"]: record for record in _records(found, "id")}
    return _Content(listing, images, category_of, names, places)


def _records(values: object, key: str) -> Iterator[dict[str, Any]]:
    """The objects in a list that have a text or a number as key."""
    for value in values if isinstance(values, list) else ():
        if isinstance(value, dict) and isinstance(value.get(key), (str, int)):
            yield value


def _part(content: _Content, classes: Classes) -> ListedSplit:
    path = content.listing.annotations
    reasons = [_why_left_out(record, content, classes) for record in content.images]
    rows = np.array([r for r, reason in enumerate(reasons) if reason is None], dtype=np.int64)
    records = [content.images[row] for row in rows]
    places = records
    if content.places is not None:
        places = [content.places.get(record["id"], {}) for record in records]
    numbers = [content.category_of.get(record["id"]) for record in records]
    lonlat = _lonlat(places)
    time, notes = _times(places, lonlat)
    return ListedSplit(
        split=content.listing.split,
        file=path,
        length=len(content.images),
        rows=rows,
        positions=rows,
        trained=np.array([_is_trained(place) for place in places], dtype=np.bool_),
        names=texts_of(record.get("file_name") or record["id"] for record in records),
        lonlat=lonlat,
        time=time,
        codes=np.array([classes.codes.get(number, -1) for number in numbers], dtype=np.int64),
        users=[text_of(place.get("user_id")) for place in places],
        problems=[Problem(str(path), r, reason) for r, reason in enumerate(reasons) if reason],
        notes=notes,
    )


def _why_left_out(record: object, content: _Content, classes: Classes) -> str | None:
    if not isinstance(record, dict) or not isinstance(record.get("id"), (str, int)):
        return "is no image with an id"
    number = content.category_of.get(record["id"])
    if number is None or (isinstance(number, int) and number in classes.codes):
        return None
    return f"category_id {number!r:.50} is not in the list of classes"


def _lonlat(places: Sequence[Mapping[str, Any]]) -> Floats:
    pairs = [
        (number_of(p.get("lon", p.get("longitude"))), number_of(p.get("lat", p.get("latitude"))))
        for p in places
    ]
    return np.array(pairs, dtype=np.float64).reshape(-1, 2)


def _times(places: Sequence[Mapping[str, Any]], lonlat: Floats) -> tuple[Floats, list[str]]:
    """The fraction of the year if it is given, otherwise the date and hour."""
    if any("date_c" in place for place in places):
        return year_fractions(place.get("date_c") for place in places)
    return dates_and_hours(texts_of(place.get("date") for place in places), lonlat)


def _is_trained(place: Mapping[str, Any]) -> bool:
    lon = place.get("lon", place.get("longitude"))
    return lon is not None and place.get("user_id") is not None
