"""The one table that every reader makes: image, place, and what else is known."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from geocsp.data.images import Images, Integers
from geocsp.data.quarantine import Problem
from geocsp.errors import DataError

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Categories:
    """A column of names, such as classes.

    Attributes:
        codes: ``(N,)`` int64 index into ``names``, -1 where unknown.
        names: what the indices mean.
    """

    codes: Integers
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.codes)

    @classmethod
    def of(cls, values: pa.ChunkedArray | Sequence[object]) -> Categories:
        """Number the different values, sorted (numbers as numbers); null and "" are unknown."""
        column = values if isinstance(values, pa.ChunkedArray) else _text_column(values)
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if pa.types.is_floating(column.type):
            column = _whole_numbers(column)
        encoded = pc.dictionary_encode(column).combine_chunks()
        if isinstance(encoded, pa.ChunkedArray):  # of no rows at all
            return cls(np.empty(0, dtype=np.int64), ())
        found = encoded.dictionary
        order = np.asarray(pc.sort_indices(found))
        ordered = [found[int(i)].as_py() for i in order]
        kept = [n for n, value in enumerate(ordered) if value is not None and value != ""]
        place = np.full(len(found) + 1, -1, dtype=np.int64)
        place[order[kept]] = np.arange(len(kept))
        codes = encoded.indices.fill_null(len(found)).to_numpy(zero_copy_only=False)
        return cls(place[codes], tuple(str(ordered[n]) for n in kept))

    def take(self, rows: Integers) -> Categories:
        """Some rows; all names stay."""
        return replace(self, codes=self.codes[rows])

    def texts(self) -> pa.Array:
        """The names row by row, null where unknown."""
        codes = pa.array(np.where(self.codes < 0, 0, self.codes), mask=self.codes < 0)
        return pa.DictionaryArray.from_arrays(codes, pa.array(self.names, pa.string()))


def _text_column(values: Sequence[object]) -> pa.ChunkedArray:
    return pa.chunked_array(
        [pa.array([None if v is None else str(v) for v in values], pa.string())]
    )


def _whole_numbers(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Class numbers that missing values turned into decimals, as integers again."""
    clean = pc.if_else(pc.is_finite(column), column, pa.scalar(None, column.type))
    if pc.all(pc.equal(clean, pc.floor(clean))).as_py():
        return clean.cast(pa.int64())
    return clean


@dataclass(frozen=True, eq=False)
class GeoTable:
    """Geo-tagged images, one a row.

    Attributes:
        images: where the images are.
        lonlat: ``(N, 2)`` float64 degrees, longitude first; NaN where the place is unknown.
        time: ``(N, 2)`` float64 date and hour (see :mod:`geocsp.times`), NaN where unknown.
        label: class of each image.
        split: what each image is for, such as "train" and "test".
        group: what belongs together, such as a photographer or a site.
        problems: rows that were left out.
        notes: what the reader guessed or repaired, one sentence each.
    """

    images: Images
    lonlat: Floats
    time: Floats | None = None
    label: Categories | None = None
    split: Categories | None = None
    group: Categories | None = None
    problems: tuple[Problem, ...] = field(default=(), repr=False)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse columns of different length."""
        for name in ("lonlat", "time", "label", "split", "group"):
            column = getattr(self, name)
            if column is not None and len(column) != len(self.images):
                raise DataError(f"{len(self.images)} images but {len(column)} rows of {name}")

    def __len__(self) -> int:
        return len(self.images)

    def take(self, rows: Integers | NDArray[np.bool_]) -> GeoTable:
        """Some rows, by number or by mask; classes keep their numbers."""
        rows = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows
        return GeoTable(
            self.images.take(rows),
            self.lonlat[rows],
            None if self.time is None else self.time[rows],
            *(None if c is None else c.take(rows) for c in (self.label, self.split, self.group)),
            problems=self.problems,
            notes=self.notes,
        )

    def part(self, split: str) -> GeoTable:
        """The rows of one split, such as "train".

        Raises:
            DataError: there is no such split.
        """
        if self.split is None or split not in self.split.names:
            known = ", ".join(self.split.names) if self.split else "none"
            raise DataError(f"no split {split!r} in the table; splits: {known}")
        return self.take(self.split.codes == self.split.names.index(split))

    @property
    def labels(self) -> Integers:
        """``(N,)`` int64 class of each image, -1 where unknown."""
        return np.full(len(self), -1, dtype=np.int64) if self.label is None else self.label.codes

    @property
    def class_names(self) -> tuple[str, ...]:
        """What the labels mean."""
        return () if self.label is None else self.label.names

    @property
    def images_fingerprint(self) -> str:
        """Changes whenever an image changes: names, sizes and times of change of all files."""
        digest = hashlib.sha256(repr(self.images.bands).encode())
        for name, stamp in zip(self._names(), self.images.stamps(), strict=True):
            digest.update(f"{name}\0{stamp}\n".encode("utf-8", "surrogateescape"))
        return digest.hexdigest()

    @property
    def fingerprint(self) -> str:
        """Changes whenever an image or anything else in the table changes."""
        digest = hashlib.sha256(self.images_fingerprint.encode())
        digest.update(np.ascontiguousarray(self.lonlat).tobytes())
        if self.time is not None:
            digest.update(np.ascontiguousarray(self.time).tobytes())
        for name in ("label", "split", "group"):
            column: Categories | None = getattr(self, name)
            if column is not None:
                digest.update("\n".join([name, *column.names]).encode())
                digest.update(column.codes.tobytes())
        return digest.hexdigest()

    def _names(self) -> Iterator[str]:
        for chunk in self.images.names.chunks:
            for start in range(0, len(chunk), 65_536):
                yield from chunk.slice(start, 65_536).to_pylist()

    def to_arrow(self) -> pa.Table:
        """All columns, ``image``, ``lon``, ``lat`` and those that are known."""
        columns: dict[str, Any] = {
            "image": self.images.names,
            "lon": self.lonlat[:, 0],
            "lat": self.lonlat[:, 1],
        }
        if self.time is not None:
            columns |= {"date": self.time[:, 0], "hour": self.time[:, 1]}
        for name in ("label", "split", "group"):
            column: Categories | None = getattr(self, name)
            if column is not None:
                columns[name] = column.texts()
        return pa.table(columns)
