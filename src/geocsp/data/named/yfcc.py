"""YFCC100M-GEO100: Flickr photos of 100 kinds of places.

The authors' ``photo2gps.txt`` has a path, a latitude and a longitude on each line, with the class
as the first folder of the path, and no splits; geo_prior publishes ``train_test_split.csv`` (path,
lat, lon, split, class) and ``class_names.csv`` (id, name) made from it
(https://github.com/macaodha/geo_prior, ``make_YFCC_dataset.py``).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from geocsp.data.assemble import assemble
from geocsp.data.images import FileImages, Integers
from geocsp.data.named.listed import ListedSplit, table_of
from geocsp.data.named.records import NUMBER, TEXT, WHOLE, Records, read_records
from geocsp.data.named.release import Classes, Release, first_file, number_of, read_text, texts_of
from geocsp.data.options import ReadOptions
from geocsp.data.quarantine import Problem
from geocsp.data.table import Categories, GeoTable
from geocsp.registry import register

_RELEASE = Release(
    "YFCC100M-GEO100",
    "https://sites.google.com/site/locationcontext/ and, with splits, "
    "https://homepages.inf.ed.ac.uk/omacaod/projects/geopriors/",
)
_SPLITS = ("train", "val", "test")


@register("layout", "yfcc100m-geo")
def yfcc100m_geo(root: Path, options: ReadOptions) -> GeoTable:
    """YFCC100M-GEO100, with the splits and class numbers of geo_prior if its files are there.

    There are no times and no users.

    Args:
        root: the folder with ``train_test_split.csv`` and ``class_names.csv``, or with
            ``photo2gps.txt``, and with one folder of images for each class.
        options: how to read.

    Raises:
        DataError: a file is missing or damaged.
    """
    original = first_file(root, "photo2gps.txt")
    if original is not None and first_file(root, "train_test_split.csv") is None:
        return _without_splits(original, options)
    path = _RELEASE.file(root, "train_test_split.csv")
    kinds = {"path": TEXT, "lat": NUMBER, "lon": NUMBER, "split": TEXT, "class": WHOLE}
    records = read_records([path], kinds)
    names = read_records([_RELEASE.file(root, "class_names.csv")], {"id": WHOLE, "name": TEXT})
    numbers, texts = names.columns["id"].to_pylist(), names.columns["name"].to_pylist()
    classes = Classes.of(zip(numbers, texts, strict=True))
    which = pc.index_in(records.columns["split"], pa.array(_SPLITS)).fill_null(-1).to_numpy()
    parts = [
        _part(split, np.flatnonzero(which == number), records, classes)
        for number, split in enumerate(_SPLITS)
    ]
    others = [
        Problem(str(path), int(records.row[row]), f"its split is none of {', '.join(_SPLITS)}")
        for row in np.flatnonzero(which < 0)
    ]
    return table_of(
        parts,
        classes.names,
        options.folder or str(root),
        options,
        problems=[*records.problems, *others],
    )


def _part(split: str, rows: Integers, records: Records, classes: Classes) -> ListedSplit:
    chosen = pa.array(rows)
    numbers = records.columns["class"].take(chosen).to_pylist()
    return ListedSplit(
        split=split,
        file=records.files[0],
        length=len(rows),
        rows=records.row[rows],
        positions=np.arange(len(rows)),
        trained=np.ones(len(rows), dtype=np.bool_),
        names=records.columns["path"].take(chosen),
        lonlat=records.lonlat("lon", "lat")[rows],
        time=np.full((len(rows), 2), np.nan),
        codes=np.array([classes.codes.get(number, -1) for number in numbers], dtype=np.int64),
        users=[None] * len(rows),
    )


def _without_splits(path: Path, options: ReadOptions) -> GeoTable:
    lines = [line.rsplit(maxsplit=2) for line in read_text(path).splitlines()]
    good = [row for row, line in enumerate(lines) if len(line) == 3]
    problems = [
        Problem(str(path), row, "is no path, latitude and longitude")
        for row, line in enumerate(lines)
        if line and len(line) != 3
    ]
    names = [lines[row][0] for row in good]
    pairs = [(number_of(lines[row][2]), number_of(lines[row][1])) for row in good]
    return assemble(
        FileImages(texts_of(names), options.folder or str(path.parent), options.bands),
        np.array(pairs, dtype=np.float64).reshape(-1, 2),
        label=Categories.of([name.partition("/")[0] for name in names]),
        problems=problems,
        origin=lambda row: (str(path), good[row]),
        keep_unplaced=options.keep_unplaced,
    )
