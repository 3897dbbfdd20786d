"""Samples of a WebDataset shard: members of one name before the first dot, side by side."""

from __future__ import annotations

import json
import math
import re
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from tarfile import TarInfo
from typing import Any, BinaryIO

import pyarrow as pa

from geocsp.data.columns.fields import ROLES, Fields, columns_of, text
from geocsp.data.geotag.clock import Moment
from geocsp.data.geotag.exif import Geotag
from geocsp.data.geotag.inside import look
from geocsp.data.quarantine import Problem
from geocsp.data.readers.tars import CutError, members
from geocsp.errors import DataError, MissingExtraError

_IMAGE = re.compile(r"jpe?g|jpe|jfif|png|webp|gif|bmp|tiff?|hei[cf]|avif|jp2|j2k|p[bgnp]m|qoi")
_TEXT = re.compile(r"cls|id|te?xt|label|class|lon(gitude)?|lat(itude)?|time|date|split|group")
_LARGEST_TEXT = 4 << 20
_LARGEST_IMAGE = 1 << 30
_LARGEST_LOOK = 64 << 20
_ROWS = 65_536
_NOWHERE = (math.nan, math.nan)


@dataclass
class _Sample:
    key: str
    images: dict[str, TarInfo] = field(default_factory=dict)
    endings: list[str] = field(default_factory=list)
    fields: dict[str, Any] = field(default_factory=dict)
    spoiled: bool = False


class Samples:
    """The samples of one shard.

    A sample is what follows each other in the shard and has one name up to the first dot of the
    file name (as in the WebDataset format). Its image is the member with an image's ending, the
    plain ``.jpg`` before ``.mask.png``; its fields are those of its ``.json`` members and its small
    texts: ``.cls``, ``.txt``, ``.id``, ``.lat`` and the like.

    Attributes:
        problems: what was left out so far.
        more: images beyond those used, in samples with several.
    """

    def __init__(self, shard: str, fields: Fields, crs: str | None = None) -> None:
        """Prepare for one shard.

        Args:
            shard: path or URL, for names and reports.
            fields: finds the roles.
            crs: reference system of rasters that name none.
        """
        self.problems: list[Problem] = []
        self.more = 0
        self._crs = crs
        self._shard = shard
        self._fields = fields

    def read(self, file: BinaryIO, size: int) -> Iterator[pa.RecordBatch]:
        """Columns name, start, size (bytes in the shard), those of ROLES, and what images tell.

        Coordinates are float64 or, where some are no numbers, text; the other roles are text. Of
        images beside which no coordinates are, inside_lon and inside_lat are what they hold
        themselves, in degrees, and reason is why that is not usable.

        Args:
            file: the shard, seekable.
            size: bytes in it.
        """
        rows = _Rows()
        for sample in self._gather(file, size):
            image = self._image_of(sample)
            if image is not None:
                values = self._values_of(sample)
                tag = None
                if values[0] is None and values[1] is None:
                    tag = self._look(file, image)
                    values[2] = moment_text(tag.moment) if values[2] is None else values[2]
                rows.add(f"{self._shard}/{text(image.name)}", image, values, tag)
            if len(rows.names) == _ROWS:
                yield rows.batch()
                rows = _Rows()
        yield rows.batch()

    def _gather(self, file: BinaryIO, size: int) -> Iterator[_Sample]:
        sample = _Sample("")
        try:
            for member in members(file, size):
                key, ending = _split(member.name)
                if not key or member.isdir():
                    continue
                if sample.key != key:
                    yield sample
                    sample = _Sample(key)
                self._add(sample, ending, member, file)
        except DataError as error:
            self.problems.append(Problem(self._shard, None, text(str(error))))
            if isinstance(error, CutError) and _split(error.member)[0] == sample.key:
                return
        yield sample

    def _add(self, sample: _Sample, ending: str, member: TarInfo, file: BinaryIO) -> None:
        if ending in sample.endings:
            self._report(member.name, "is there twice in its sample; the first is used")
            return
        sample.endings.append(ending)
        kind = ending.rpartition(".")[2]
        is_image = _IMAGE.fullmatch(kind) or ending == self._fields.columns.image
        is_json = kind == "json"
        if not (is_image or is_json or _TEXT.fullmatch(ending)):
            return
        try:
            _check(member, _LARGEST_IMAGE if is_image else _LARGEST_TEXT)
            if is_image:
                sample.images[ending] = member
                return
            file.seek(member.offset_data)
            content = file.read(member.size)
            fields = _object(content) if is_json else {ending: _word(content)}
        except DataError as error:
            self._report(member.name, str(error))
            sample.spoiled = True
            return
        sample.fields = fields | sample.fields if is_json else sample.fields | fields

    def _image_of(self, sample: _Sample) -> TarInfo | None:
        if sample.spoiled or not sample.endings:
            return None
        wanted = self._fields.columns.image
        plain = [ending for ending in sample.images if "." not in ending]
        choice = [wanted] if wanted else plain or list(sample.images)
        image = sample.images.get(choice[0]) if choice else None
        if image is None:
            held = ", ".join(sample.endings[:5])
            self._report(sample.key, f"holds no {wanted or 'image'}, but {held}")
        elif not wanted:
            self.more += len(sample.images) - 1
        return image

    def _values_of(self, sample: _Sample) -> list[Any]:
        fields = sample.fields
        if "cls" in fields and self._fields.columns.label is None:
            fields["label"] = fields.pop("cls")
        return self._fields.of(fields)

    def _look(self, file: BinaryIO, image: TarInfo) -> Geotag:
        if image.size > _LARGEST_LOOK:
            return Geotag()
        file.seek(image.offset_data)
        try:
            return look(file.read(image.size), self._crs)
        except MissingExtraError as error:
            return Geotag(reason=str(error))

    def _report(self, name: str, reason: str) -> None:
        self.problems.append(Problem(f"{self._shard}/{text(name)}", None, reason))


class _Rows:
    """Rows of a batch, in as little memory as comes easily."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._starts, self._sizes = array("q"), array("q")
        self._inside = array("d"), array("d")
        self._reasons: list[str | None] = []
        self._seen = False
        self._values: list[list[Any]] = [[] for _ in ROLES]

    def add(self, name: str, image: TarInfo, values: Sequence[Any], tag: Geotag | None) -> None:
        self.names.append(name)
        self._starts.append(image.offset_data)
        self._sizes.append(image.size)
        for axis, value in zip(self._inside, (tag.lon, tag.lat) if tag else _NOWHERE, strict=True):
            axis.append(value)
        self._reasons.append(tag.reason if tag else None)
        self._seen = self._seen or tag is not None
        for column, value in zip(self._values, values, strict=True):
            column.append(value)

    def batch(self) -> pa.RecordBatch:
        unseen = pa.nulls(len(self.names))  # of which no memory is needed
        lon, lat = (pa.array(axis) if self._seen else unseen for axis in self._inside)
        return pa.RecordBatch.from_pydict(
            {
                "name": pa.array(self.names, pa.string()),
                "start": pa.array(self._starts, pa.int64()),
                "size": pa.array(self._sizes, pa.int64()),
                **columns_of(self._values),
                "inside_lon": lon,
                "inside_lat": lat,
                "reason": pa.array(self._reasons, pa.string()) if self._seen else unseen,
            }
        )


def moment_text(moment: Moment) -> str | None:
    """A moment as :func:`~geocsp.data.columns.moments.times_from` reads it: colons are local."""
    if isinstance(moment, datetime) and moment.tzinfo is None:
        return moment.strftime("%Y:%m:%d %H:%M:%S")
    return None if moment is None else moment.isoformat()


def _split(name: str) -> tuple[str, str]:
    """Key of the sample and ending of a member, both "" where it belongs to none."""
    folder, slash, file = name.rpartition("/")
    stem, _, ending = file.partition(".")
    return (f"{folder}{slash}{stem}", ending.lower()) if stem and ending else ("", "")


def _check(member: TarInfo, largest: int) -> None:
    if not member.isreg() or member.issparse():
        raise DataError("is a link or a sparse file; only plain files can be used")
    if member.size > largest:
        raise DataError(f"has {member.size:,} bytes, more than {largest:,}")


def _object(content: bytes) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DataError(f"is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise DataError(f"holds a JSON {type(found).__name__}, not an object with fields")
    return found


def _word(content: bytes) -> str | None:
    return content.decode("utf-8", "replace").strip() or None
