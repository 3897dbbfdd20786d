"""GeoLifeCLEF: plants (and animals) that people reported, with patches of aerial images.

2020 (https://github.com/maximiliense/GLC): ``occurrences/occurrences_fr_train.csv`` and the like
with the columns id, lat, lon, species_id; patches are numpy arrays, which are not read. 2021 and
2022 (https://github.com/plantnet/GeoLifeCLEF, ``_old/data_loading``):
``observations/observations_fr_train.csv`` with observation_id, latitude, longitude, species_id,
subset; patches in ``patches-fr/`` and ``patches-us/``. 2023 (its ``data/sample_data``):
``Presence_only_occurrences/Presences_only_train.csv`` with patchID, lon, lat, date, observer and
speciesId; patches in ``SatelliteImages/rgb/``. 2024 and 2025 (its ``download.py``):
``PresenceOnlyOccurrences/GLC24_PO_metadata_train.csv`` with surveyId, lon, lat, date and
speciesId; where its patches lie after unpacking could not be verified, so their folder has to be
named. All but the last two separate fields by semicolons. The patch of number 10561234 is in the
folder ``34/12``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from geocsp.data.assemble import assemble
from geocsp.data.images import FileImages, Images
from geocsp.data.named.dates import dates_and_hours
from geocsp.data.named.no_images import NoImages
from geocsp.data.named.records import NUMBER, TEXT, WHOLE, Records, read_records
from geocsp.data.named.release import Release, first_file
from geocsp.data.options import ReadOptions
from geocsp.data.table import Categories, GeoTable
from geocsp.registry import register

_RELEASE = Release("GeoLifeCLEF", "https://github.com/plantnet/GeoLifeCLEF")
_REGIONS = ("fr", "us")


@register("layout", "geolifeclef")
def geolifeclef(root: Path, options: ReadOptions) -> GeoTable:
    """GeoLifeCLEF 2020, 2021 or 2022: France and the United States, whatever is there.

    Splits are those of the column subset ("train", "val"; in 2020 all is "train"), and "test",
    whose species are not published. There are no times.

    Args:
        root: the folder with ``observations/`` and ``patches-fr/``, or with ``occurrences/``.
        options: how to read.

    Raises:
        DataError: a file is missing or damaged.
    """
    old = not (root / "observations").is_dir() and (root / "occurrences").is_dir()
    stem = "occurrences" if old else "observations"
    names = _Names("id", "lon", "lat", "species_id")
    if not old:
        names = _Names("observation_id", "longitude", "latitude", "species_id")
    found = {
        (part, region): path
        for part in ("train", "test")
        for region in _REGIONS
        if (path := first_file(root, f"{stem}/{stem}_{region}_{part}.csv")) is not None
    }
    if not found:
        raise _RELEASE.missing(root / stem / f"{stem}_fr_train.csv")
    required = {names.number: WHOLE, names.lon: NUMBER, names.lat: NUMBER}
    optional = {names.species: WHOLE, "subset": TEXT}
    records = read_records(list(found.values()), required, optional, delimiter=";")
    parts = pa.array([part for part, _ in found]).take(pa.array(records.file))
    regions = pa.array([f"patches-{region}" for _, region in found]).take(pa.array(records.file))
    images: Images = NoImages.of(len(records))
    if not old:
        images = _patches(root, records.columns[names.number], regions, "_rgb.jpg", options)
    split = Categories.of(pc.coalesce(records.columns["subset"], parts))
    notes = ["patches of 2020 are numpy arrays, which are not read"] if old else []
    return _assembled(records, names, images, options, split=split, notes=notes)


@register("layout", "geolifeclef2023")
def geolifeclef2023(root: Path, options: ReadOptions) -> GeoTable:
    """GeoLifeCLEF 2023: where people saw plants all over Europe; observers are the groups.

    Args:
        root: the folder with ``Presence_only_occurrences/`` and ``SatelliteImages/``.
        options: how to read.

    Raises:
        DataError: a file is missing or damaged.
    """
    name = "Presences_only_train.csv"
    path = _RELEASE.file(root, f"Presence_only_occurrences/{name}", name)
    names = _Names("patchID", "lon", "lat", "speciesId", "observer")
    required = {"patchID": WHOLE, "lon": NUMBER, "lat": NUMBER, "speciesId": WHOLE}
    records = read_records([path], required, {"date": TEXT, "observer": TEXT}, delimiter=";")
    folder = pa.scalar("SatelliteImages/rgb")
    images = _patches(root, records.columns["patchID"], folder, ".jpeg", options)
    return _assembled(records, names, images, options)


@register("layout", "geolifeclef2024")
def geolifeclef2024(root: Path, options: ReadOptions) -> GeoTable:
    """GeoLifeCLEF 2024 or 2025: where people saw plants all over Europe; surveys are the groups.

    Args:
        root: the folder with ``PresenceOnlyOccurrences/`` or the file that is in it.
        options: how to read; with ``folder``, images are ``folder/34/12/10561234.jpeg``, without
            it there are none.

    Raises:
        DataError: a file is missing or damaged.
    """
    files = [f"GLC{year}_{kind}_metadata_train.csv" for year in (24, 25) for kind in ("PO", "P0")]
    files.append("PO_metadata_train.csv")
    folders = ("PresenceOnlyOccurrences", "PresenceOnlyOccurences", ".")
    path = _RELEASE.file(root, *(f"{folder}/{file}" for folder in folders for file in files))
    names = _Names("surveyId", "lon", "lat", "speciesId", "surveyId")
    required = {"surveyId": WHOLE, "lon": NUMBER, "lat": NUMBER, "speciesId": WHOLE}
    records = read_records([path], required, {"date": TEXT})
    images: Images = NoImages.of(len(records))
    if options.folder is not None:
        images = _patches(root, records.columns["surveyId"], None, ".jpeg", options)
    return _assembled(records, names, images, options)


@dataclass(frozen=True)
class _Names:
    """Names of columns."""

    number: str
    lon: str
    lat: str
    species: str
    group: str | None = None


def _patches(
    root: Path,
    numbers: pa.ChunkedArray,
    folders: pa.Array | pa.Scalar | None,
    ending: str,
    options: ReadOptions,
) -> FileImages:
    """Patches by number: that of 10561234 is ``folder/34/12/10561234`` with the ending."""
    texts = numbers.cast(TEXT)
    last, middle = pc.utf8_slice_codeunits(texts, -2), pc.utf8_slice_codeunits(texts, -4, -2)
    parts = [last, middle, pc.binary_join_element_wise(texts, ending, "")]
    if folders is not None:
        parts.insert(0, folders)
    names = pc.binary_join_element_wise(*parts, "/")
    return FileImages(names, options.folder or str(root), options.bands)


def _assembled(
    records: Records,
    names: _Names,
    images: Images,
    options: ReadOptions,
    *,
    split: Categories | None = None,
    notes: Sequence[str] = (),
) -> GeoTable:
    lonlat = records.lonlat(names.lon, names.lat)
    time, unread = None, list[str]()
    if "date" in records.columns:
        time, unread = dates_and_hours(records.columns["date"], lonlat)
    return assemble(
        images,
        lonlat,
        time=time,
        label=Categories.of(records.columns[names.species]),
        split=split or Categories(np.zeros(len(records), dtype=np.int64), ("train",)),
        group=Categories.of(records.columns[names.group]) if names.group else None,
        problems=records.problems,
        notes=[*notes, *unread],
        origin=records.origin,
        keep_unplaced=options.keep_unplaced,
    )
