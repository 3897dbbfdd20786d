"""SINR's training data: 35 million places where iNaturalist's users saw a species.

``geo_prior_train.csv`` has the columns latitude, longitude, taxon_id and the date (observed_on),
the observation and the observer; ``geo_prior_train_meta.json`` is a list of ``{"taxon_id",
"latin_name"}`` (https://github.com/elijahcole/sinr, ``datasets.py``). There are no images.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from geocsp.data.assemble import assemble
from geocsp.data.named.dates import dates_and_hours
from geocsp.data.named.no_images import NoImages
from geocsp.data.named.records import NUMBER, TEXT, WHOLE, read_records
from geocsp.data.named.release import Release, clean, first_file, read_json
from geocsp.data.options import ReadOptions
from geocsp.data.table import Categories, GeoTable
from geocsp.registry import register

_RELEASE = Release("SINR's training data", "https://github.com/elijahcole/sinr/tree/main/data")


@register("layout", "sinr")
def sinr(root: Path, options: ReadOptions) -> GeoTable:
    """SINR's training data: places, species, dates and observers, without images.

    Classes have the order of their taxon numbers, as in SINR; all rows are of split "train". Rows
    have no image (see :mod:`geocsp.data.named.no_images`).

    Args:
        root: the folder with ``geo_prior_train.csv``, or with ``train/`` or ``data/train/`` in
            which it is.
        options: how to read.

    Raises:
        DataError: a file is missing or damaged.
    """
    name = "geo_prior_train.csv"
    path = _RELEASE.file(root, name, f"train/{name}", f"data/train/{name}")
    records = read_records(
        [path],
        {"latitude": NUMBER, "longitude": NUMBER, "taxon_id": WHOLE},
        {"observed_on": TEXT, "date": TEXT, "observer_id": WHOLE, "user_id": WHOLE},
    )
    lonlat = records.lonlat("longitude", "latitude")
    when, who = records.first("observed_on", "date"), records.first("observer_id", "user_id")
    time, notes = dates_and_hours(when, lonlat) if when is not None else (None, [])
    label = Categories.of(records.columns["taxon_id"])
    return assemble(
        NoImages.of(len(records)),
        lonlat,
        time=time,
        label=Categories(label.codes, _latin_names(path.parent, label.names)),
        split=Categories(np.zeros(len(records), dtype=np.int64), ("train",)),
        group=Categories.of(who) if who is not None else None,
        problems=records.problems,
        notes=[*notes, "there are no images, only places"],
        origin=records.origin,
        keep_unplaced=options.keep_unplaced,
    )


def _latin_names(folder: Path, taxa: tuple[str, ...]) -> tuple[str, ...]:
    """Names of species by their numbers as far as they are known."""
    path = first_file(folder, "geo_prior_train_meta.json")
    taxon_names = read_json(path) if path is not None else []
    known = {
        str(record.get("taxon_id")): clean(str(record.get("latin_name", record.get("taxon_id"))))
        for record in (taxon_names if isinstance(taxon_names, list) else [])
        if isinstance(record, dict)
    }
    return tuple(known.get(taxon, taxon) for taxon in taxa)
