"""How to read a source, where guessing is not enough."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields

from geocsp.data.images import Bands
from geocsp.errors import DataError

_GUESSES = {
    "image": (
        "image",
        "imagepath",
        "imageurl",
        "filename",
        "filepath",
        "file",
        "path",
        "url",
        "photo",
        "photourl",
        "photopath",
        "img",
        "imgpath",
        "identifier",
    ),
    "lon": ("lon", "longitude", "lng", "long", "decimallongitude", "gpslongitude", "x"),
    "lat": ("lat", "latitude", "decimallatitude", "gpslatitude", "y"),
    "time": (
        "time",
        "datetime",
        "timestamp",
        "date",
        "eventdate",
        "observedon",
        "capturedat",
        "capturetime",
    ),
    "label": (
        "label",
        "class",
        "classname",
        "category",
        "categoryname",
        "categoryid",
        "species",
        "scientificname",
        "taxon",
        "taxonid",
        "speciesid",
    ),
    "split": ("split", "subset", "fold", "partition"),
    "group": (
        "group",
        "site",
        "siteid",
        "user",
        "userid",
        "photographer",
        "observer",
        "observerid",
        "recordedby",
        "sequence",
    ),
}


@dataclass(frozen=True)
class Columns:
    """Which column of a table is what; None: guess from its name.

    Attributes:
        image: path or URL of the image.
        lon: longitude, or easting with a ``crs``.
        lat: latitude, or northing.
        time: date or moment.
        label: class.
        split: what the row is for.
        group: photographer, site or the like.
    """

    image: str | None = None
    lon: str | None = None
    lat: str | None = None
    time: str | None = None
    label: str | None = None
    split: str | None = None
    group: str | None = None

    def resolve(self, names: Sequence[str], where: str) -> dict[str, str]:
        """The column of each role that the table has.

        Names count without case, spaces, "_", "-" and ":"; of several guesses the first in the
        order of the list wins.

        Args:
            names: columns of the table.
            where: the file, for error messages.

        Raises:
            DataError: a column that was named is not there.
        """
        plain = {}
        for name in names:
            plain.setdefault("".join(c for c in name.lower() if c not in " _-:."), name)
        found = {}
        for role in fields(self):
            named = getattr(self, role.name)
            if named is not None and named not in names:
                raise DataError(
                    f"{where} has no column {named!r} for {role.name}; its columns are "
                    f"{', '.join(names) or 'none'}"
                )
            guess = next((plain[g] for g in _GUESSES[role.name] if g in plain), None)
            if named or guess:
                found[role.name] = named or guess or ""
        return found


@dataclass(frozen=True)
class ReadOptions:
    """How to read a source.

    Attributes:
        columns: which column is what.
        crs: coordinate reference system of the columns lon and lat, such as "EPSG:32632"; None:
            what the file says, or else degrees (WGS84).
        folder: what relative paths of images are relative to; None: the folder of the table.
        bands: which bands of rasters to take, and the range to scale to bytes.
        keep_unplaced: keep images without a usable place, with NaN coordinates.
    """

    columns: Columns = field(default_factory=Columns)
    crs: str | None = None
    folder: str | None = None
    bands: Bands = field(default_factory=Bands)
    keep_unplaced: bool = False
