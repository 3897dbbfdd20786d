"""How to read a source, where guessing is not enough."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields

from geocsp.data.images import Bands
from geocsp.errors import DataError

_GUESSES = {
    "image": (
        "image",
        "imagepath",
        "imageurl",
        "imagefile",
        "imagename",
        "filename",
        "filepath",
        "sourcefile",  # of exiftool -csv
        "file",
        "path",
        "url",
        "photo",
        "photourl",
        "photopath",
        "img",
        "imgpath",
        "imgname",
        "imgid",  # of the Im2GPS benchmarks, where ids are file names
        "identifier",  # of GBIF's multimedia tables
    ),
    "lon": ("lon", "longitude", "lng", "long", "decimallongitude", "gpslongitude", "gpslon"),
    "lat": ("lat", "latitude", "decimallatitude", "gpslatitude", "gpslat"),
    "time": (
        "datetime",
        "timestamp",
        "datetimeoriginal",
        "timeobservedat",
        "eventdate",
        "observedon",
        "capturedat",
        "capturetime",
        "datetaken",
        "date",  # before time, which is the hour alone where a table has both
        "time",
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
        "taxonname",
        "taxonid",
        "speciesid",
        "classid",
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
        "sequenceid",
    ),
}
_TOGETHER = (("x", "y"), ("easting", "northing"))
"""Names of coordinates that say so only as a pair."""
_ENDINGS = {"lon": r"(longitude|(^|[^a-z])(lon|lng))$", "lat": r"(latitude|(^|[^a-z])lat)$"}
_SHOWN = 40


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

        Letters and digits of a name count, without case and without what is in brackets; of
        several guesses the first in the order of the list wins. If nothing fits, the one column
        that ends in "longitude" or "_lon" is the longitude, and so for the latitude; or x and y
        together, or easting and northing. A column that was named for one role is not guessed to
        be another.

        Args:
            names: columns of the table.
            where: the file, for error messages.

        Raises:
            DataError: a column that was named is not there.
        """
        named = {f.name: getattr(self, f.name) for f in fields(self)}
        named = {role: name for role, name in named.items() if name is not None}
        for role, name in named.items():
            if name not in names:
                raise DataError(
                    f"{where} has no column {name!r} for {role}; its columns are {listing(names)}"
                )
        guessed = _guess([name for name in names if name not in named.values()])
        return {role: (guessed | named)[role] for role in _GUESSES if role in guessed | named}

    def notes(self, found: Mapping[str, str]) -> list[str]:
        """What :meth:`resolve` guessed, a sentence for every role whose column has another name."""
        return [
            f"column {name!r} is taken as {role}"
            for role, name in found.items()
            if getattr(self, role) is None and name != role
        ]


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
        layer: layer of a vector file that has several, such as a GeoPackage.
    """

    columns: Columns = field(default_factory=Columns)
    crs: str | None = None
    folder: str | None = None
    bands: Bands = field(default_factory=Bands)
    keep_unplaced: bool = False
    layer: str | None = None


def listing(names: Sequence[str]) -> str:
    """Names for an error message, the first forty of them, or "none"."""
    shown = ", ".join(" ".join(name.split()) for name in names[:_SHOWN]) or "none"
    return f"{shown} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else shown


def simple(name: str) -> str:
    """What of a name counts in guessing: letters and digits, without what is in brackets."""
    return "".join(letter for letter in _unbracketed(name).lower() if letter.isalnum())


def _unbracketed(name: str) -> str:
    return re.sub(r"\([^()]*\)|\[[^\[\]]*\]", "", name).strip()


def _words(name: str) -> str:
    """A name in lower case with "_" where a capital starts a word."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", _unbracketed(name)).lower()


def _guess(names: Sequence[str]) -> dict[str, str]:
    known: dict[str, str] = {}
    for name in names:
        known.setdefault(simple(name), name)
    found = {}
    for role, guesses in _GUESSES.items():
        if guess := next((known[g] for g in guesses if g in known), None):
            found[role] = guess
    for axis, ending in _ENDINGS.items():
        fitting = [name for name in names if re.search(ending, _words(name))]
        if axis not in found and len(fitting) == 1:
            found[axis] = fitting[0]
    for east, north in _TOGETHER:
        if not found.keys() & {"lon", "lat"} and east in known and north in known:
            found |= {"lon": known[east], "lat": known[north]}
    return found
