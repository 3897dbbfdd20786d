"""OpenStreetView-5M: 5 million street view images with their administrative areas.

``train.csv`` and ``test.csv`` have the columns id, latitude, longitude, country, region,
sub-region, city, sequence, captured_at and more; images are ``images/train/00/<id>.jpg``, in as
many folders as there were archives (https://huggingface.co/datasets/osv5m/osv5m, ``osv5m.py``, and
https://github.com/gastruc/osv5m).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from geocsp.data.assemble import assemble
from geocsp.data.images import FileImages
from geocsp.data.named.dates import dates_and_hours
from geocsp.data.named.records import NUMBER, TEXT, read_records
from geocsp.data.named.release import Release, first_file
from geocsp.data.options import ReadOptions
from geocsp.data.table import Categories, GeoTable
from geocsp.registry import register

_RELEASE = Release("OpenStreetView-5M", "https://huggingface.co/datasets/osv5m/osv5m")


@register("layout", "osv5m")
def osv5m(root: Path, options: ReadOptions) -> GeoTable:
    """OpenStreetView-5M: countries are the classes, sequences of images the groups.

    Args:
        root: the folder with ``train.csv``, ``test.csv`` and ``images/``.
        options: how to read; ``columns`` with another label, such as "region" or "city", makes
            that the class.

    Raises:
        DataError: a file is missing or damaged, or has no such column.
    """
    splits = {s: path for s in ("train", "test") if (path := first_file(root, f"{s}.csv"))}
    if not splits:
        raise _RELEASE.missing(root / "train.csv")
    label = options.columns.label or "country"
    required = {"id": TEXT, "latitude": NUMBER, "longitude": NUMBER, label: TEXT}
    records = read_records(list(splits.values()), required, {"captured_at": TEXT, "sequence": TEXT})
    lonlat = records.lonlat("longitude", "latitude")
    time, notes = dates_and_hours(records.columns["captured_at"], lonlat)
    names = [
        _paths(root, split, records.columns["id"].filter(pa.array(records.file == number)))
        for number, split in enumerate(splits)
    ]
    return assemble(
        FileImages(
            pa.chunked_array([chunk for part in names for chunk in part.chunks], TEXT),
            options.folder or str(root),
            options.bands,
        ),
        lonlat,
        time=time,
        label=Categories.of(records.columns[label]),
        split=Categories(records.file, tuple(splits)),
        group=Categories.of(records.columns["sequence"]),
        problems=records.problems,
        notes=notes,
        origin=records.origin,
        keep_unplaced=options.keep_unplaced,
    )


def _paths(root: Path, split: str, numbers: pa.ChunkedArray) -> pa.ChunkedArray:
    """Paths of images below the root; directly in the folder of the split if they are not there."""
    found = list(_images(root / "images" / split))
    stems = pa.chunked_array([stems for _, stems in found], TEXT)
    which = np.repeat(np.arange(len(found)), [len(stems) for _, stems in found])
    place = pc.index_in(numbers, value_set=stems)
    folders = pa.array([folder.relative_to(root).as_posix() for folder, _ in found], TEXT)
    folder = folders.take(pa.array(which).take(place)).fill_null(f"images/{split}")
    return pc.binary_join_element_wise(
        folder, pc.binary_join_element_wise(numbers, ".jpg", ""), "/"
    )


def _images(top: Path) -> Iterator[tuple[Path, pa.Array]]:
    """Folders and the names of the JPEG files in them, without the ending."""
    for folder, inner, files in os.walk(top):
        inner.sort()
        stems = [name.removesuffix(".jpg") for name in files if name.endswith(".jpg")]
        if stems:
            yield Path(folder), pa.array(stems, TEXT)
