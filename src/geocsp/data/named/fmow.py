"""Functional Map of the World: satellite images of 62 kinds of places, many times over.

Two layouts are read. That of the authors (https://github.com/fMoW/dataset) has one JSON file
beside each image, ``train/airport/airport_0/airport_0_1_rgb.json``; the files of the ground truth
archive, in ``train_gt/``, ``val_gt/``, ``test_gt/`` and ``seq_gt/``, hold the coordinates that the
challenge had removed. Test images are named by number, and ``test_gt_mapping.json`` says which
ground truth is whose. That of CSP's released data (https://gengchenmai.github.io/csp-website/)
has ``train.json``, ``train_location.json``, the same for val, and ``category.json``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from geocsp.data.assemble import assemble
from geocsp.data.images import FileImages
from geocsp.data.named.coco import Listing, read_listings
from geocsp.data.named.dates import dates_and_hours
from geocsp.data.named.fmow_classes import CATEGORIES
from geocsp.data.named.release import (
    Classes,
    Release,
    first_file,
    first_folder,
    read_json,
    text_of,
    texts_of,
)
from geocsp.data.options import ReadOptions
from geocsp.data.quarantine import Problem
from geocsp.data.table import Categories, GeoTable
from geocsp.errors import DataError
from geocsp.registry import register

_RELEASE = Release("fMoW", "https://github.com/fMoW/dataset")
_RELEASE_CSP = Release("CSP's data for fMoW", "https://gengchenmai.github.io/csp-website/")
_SPLITS = ("train", "val", "test", "seq")


@register("layout", "fmow")
def fmow(root: Path, options: ReadOptions) -> GeoTable:
    """Functional Map of the World, in the authors' layout or in CSP's.

    In the authors' layout the place is the centre of ``raw_location``, the class is the folder,
    the group is the instance, such as "train/airport_0" (all images of one airport), and the time
    is known to the minute. Images are those of ``_rgb.json`` files, not ``_msrgb.json``.

    Args:
        root: the folder with ``train/`` or ``train_gt/``, or with CSP's ``train.json``.
        options: how to read.

    Raises:
        DataError: a file is missing or damaged.
    """
    if first_file(root, "train.json", "val.json") is not None:
        return _read_csp(root, options)
    return _read_folders(root, options)


def _read_csp(root: Path, options: ReadOptions) -> GeoTable:
    listings = [
        Listing(split, path, _RELEASE_CSP.file(root, f"{split}_location.json"))
        for split in ("train", "val")
        if (path := first_file(root, f"{split}.json")) is not None
    ]
    path = _RELEASE_CSP.file(root, "category.json")
    numbers = read_json(path)
    if not isinstance(numbers, dict):
        raise DataError(f"{path} does not say the number of each class, as CSP's does")
    classes = Classes.of((number, name) for name, number in numbers.items())
    return read_listings(listings, str(root), options, classes=classes)


@dataclass(frozen=True)
class _Image:
    split: str
    category: str
    instance: str
    name: str
    metadata: Path
    lonlat: tuple[float, float]
    timestamp: str | None


def _read_folders(root: Path, options: ReadOptions) -> GeoTable:
    images: list[_Image] = []
    problems: list[Problem] = []
    for split in _SPLITS:
        places = (f"{split}_gt", f"groundtruth/{split}_gt", split)
        folder = root / first_folder(root, *places)
        numbered = _numbered(root, split)
        for path in _metadata_files(folder):
            try:
                images.append(_image(split, path, numbered))
            except DataError as error:
                problems.append(Problem(str(path), None, str(error)))
    if not images and not problems:
        raise _RELEASE.missing(root / "train" / CATEGORIES[0])
    names = (*CATEGORIES, *sorted({image.category for image in images} - set(CATEGORIES)))
    code = {name: number for number, name in enumerate(names)}
    lonlat = np.array([image.lonlat for image in images], dtype=np.float64).reshape(-1, 2)
    time, notes = dates_and_hours(texts_of(image.timestamp for image in images), lonlat)
    names_of_files = texts_of(image.name for image in images)
    return assemble(
        FileImages(names_of_files, options.folder or str(root), options.bands),
        lonlat,
        time=time,
        label=Categories(np.array([code[i.category] for i in images], dtype=np.int64), names),
        split=Categories.of([image.split for image in images]),
        group=Categories.of([f"{image.split}/{image.instance}" for image in images]),
        problems=problems,
        notes=notes,
        origin=lambda row: (str(images[row].metadata), None),
        keep_unplaced=options.keep_unplaced,
    )


def _metadata_files(folder: Path) -> Iterator[Path]:
    """Metadata of RGB images, ``category/instance/instance_0_rgb.json``, sorted."""
    for category in _inside(folder):
        for instance in _inside(category):
            yield from (path for path in _inside(instance) if path.name.endswith("_rgb.json"))


def _inside(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _numbered(root: Path, split: str) -> Mapping[str, str]:
    """Which numbered folder of images belongs to a folder of ground truth."""
    name = f"{split}_gt_mapping.json"
    path = first_file(root, name, f"groundtruth/{name}")
    pairs = read_json(path) if path is not None else []
    return {
        pair["input"]: pair["output"]
        for pair in (pairs if isinstance(pairs, list) else [])
        if isinstance(pair, dict) and text_of(pair.get("input")) and text_of(pair.get("output"))
    }


def _image(split: str, path: Path, numbered: Mapping[str, str]) -> _Image:
    """What a metadata file says of its image.

    Raises:
        DataError: it is no metadata file.
    """
    facts = read_json(path)
    if not isinstance(facts, dict):
        raise DataError("is no metadata of an image")
    instance, category = path.parent.name, path.parent.parent.name
    ending = Path(text_of(facts.get("img_filename")) or "image.jpg").suffix
    folder = numbered.get(f"{split}_gt/{category}/{instance}", f"{split}/{category}/{instance}")
    stem = folder.rpartition("/")[2] + path.stem.removeprefix(instance)
    return _Image(
        split=split,
        category=category,
        instance=instance,
        name=f"{folder}/{stem}{ending}",
        metadata=path,
        lonlat=centre_of(facts.get("raw_location")),
        timestamp=text_of(facts.get("timestamp")),
    )


def centre_of(polygon: object) -> tuple[float, float]:
    """Longitude and latitude of the centre of a WKT polygon's extent; NaN if it is none.

    A polygon that is wider than half the globe counts as crossing the antimeridian.
    """
    ring = str(polygon or "").rpartition("((")[2].partition(")")[0]
    try:
        corners = np.array([corner.split()[:2] for corner in ring.split(",")], dtype=np.float64)
    except ValueError:
        return math.nan, math.nan
    if corners.ndim != 2 or corners.shape[1] != 2:
        return math.nan, math.nan
    lon, lat = corners.T
    if np.ptp(lon) > 180:
        lon = np.where(lon < 0, lon + 360, lon)
    middle = float(lon.min() + lon.max()) / 2
    return middle - 360 if middle > 180 else middle, float(lat.min() + lat.max()) / 2
