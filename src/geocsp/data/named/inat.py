"""The iNaturalist data sets of 2017, 2018 and 2021.

Annotations: https://github.com/visipedia/inat_comp. The places, dates and users of 2017 and 2018
were published later as ``inat2018_locations.zip``, whose two files may lie in a folder of that
name; those of 2021 are part of the annotations.
"""

from __future__ import annotations

from pathlib import Path

from geocsp.data.named.coco import Listing, read_listings
from geocsp.data.named.release import Classes, Release, first_file, read_json
from geocsp.data.options import ReadOptions
from geocsp.data.table import GeoTable
from geocsp.registry import register

_PAGE = "https://github.com/visipedia/inat_comp/tree/master/"


@register("layout", "inat2017")
def inat2017(root: Path, options: ReadOptions) -> GeoTable:
    """The data of 2017: 579,184 training and 95,986 validation images of 5,089 classes.

    Args:
        root: the folder with ``train2017.json``, ``train2017_locations.json`` and
            ``train_val_images/``.
        options: how to read.

    Raises:
        DataError: a file is missing or damaged.
    """
    return _with_locations(root, options, "2017")


@register("layout", "inat2018")
def inat2018(root: Path, options: ReadOptions) -> GeoTable:
    """The data of 2018: 437,513 training and 24,426 validation images of 8,142 species.

    Args:
        root: the folder with ``train2018.json``, ``train2018_locations.json`` and
            ``train_val2018/``; also the folder ``inat_2018`` of CSP's or geo_prior's data.
        options: how to read.

    Raises:
        DataError: a file is missing or damaged.
    """
    return _with_locations(root, options, "2018")


@register("layout", "inat2021")
def inat2021(root: Path, options: ReadOptions) -> GeoTable:
    """The data of 2021: 2,686,843 training and 100,000 validation images of 10,000 species.

    Args:
        root: the folder with ``train.json``, ``val.json``, ``train/`` and ``val/``.
        options: how to read.

    Raises:
        DataError: a file is missing or damaged.
    """
    return _with_places_inside(root, options, "train")


@register("layout", "inat2021-mini")
def inat2021_mini(root: Path, options: ReadOptions) -> GeoTable:
    """The data of 2021 with the small training set: 50 images of each species, 500,000 in all.

    Args:
        root: the folder with ``train_mini.json``, ``val.json``, ``train_mini/`` and ``val/``.
        options: how to read.

    Raises:
        DataError: a file is missing or damaged.
    """
    return _with_places_inside(root, options, "train_mini")


def _with_locations(root: Path, options: ReadOptions, year: str) -> GeoTable:
    release = Release(f"iNaturalist {year}", _PAGE + year)
    listings = []
    for split in ("train", "val"):
        annotations = first_file(root, f"{split}{year}.json")
        if annotations is not None:
            name = f"{split}{year}_locations.json"
            places = release.file(root, name, f"inat{year}_locations/{name}")
            listings.append(Listing(split, annotations, places))
    if not listings:
        raise release.missing(root / f"train{year}.json")
    names = first_file(root, f"categories{year}.json", "categories.json")
    classes = None if names is None else _classes(names)
    return read_listings(listings, str(root), options, classes=classes, notes=_absent(listings))


def _with_places_inside(root: Path, options: ReadOptions, train: str) -> GeoTable:
    files = {"train": first_file(root, f"{train}.json"), "val": first_file(root, "val.json")}
    listings = [Listing(split, path) for split, path in files.items() if path is not None]
    if not listings:
        raise Release("iNaturalist 2021", _PAGE + "2021").missing(root / f"{train}.json")
    return read_listings(listings, str(root), options, notes=_absent(listings))


def _absent(listings: list[Listing]) -> list[str]:
    there = {listing.split for listing in listings}
    return [f"split {split} is not there" for split in ("train", "val") if split not in there]


def _classes(path: Path) -> Classes | None:
    """Official classes of a list of ``{"id", "name"}``; None if it is something else."""
    records = read_json(path)
    pairs = [
        (record.get("id"), record.get("name"))
        for record in (records if isinstance(records, list) else [])
        if isinstance(record, dict)
    ]
    return Classes.of(pairs) if pairs else None
