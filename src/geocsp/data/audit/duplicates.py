"""The same image in several rows, and where that does harm."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from geocsp.coords import great_circle_km
from geocsp.data.audit.contents import Contents
from geocsp.data.audit.findings import Finding, Severity, Topic
from geocsp.data.audit.leakage import has_splits
from geocsp.data.audit.look import CELLS
from geocsp.data.images import Integers
from geocsp.data.table import Floats, GeoTable

TOLERANCE = 3
"""Two pictures are alike if no cell of their thumbnails differs by more than this, of 255."""
CONTRAST = 12.0
"""Least standard deviation of a thumbnail's cells, in one colour at least, of 255: flatter
pictures (sea, sky, night) look alike without being copies. At these two values, 100,000 random
tiles of satellite imagery, 32 pixels wide, had no pair called alike but such as overlap."""
_NEIGHBOURS = 16
FAR_KM = 1.0
"""Copies at places farther apart than this are at different places."""
_UNKNOWN = np.iinfo(np.int64).max

Mask = NDArray[np.bool_]


class Likeness(StrEnum):
    """In which sense images are the same.

    FILE: every byte is equal. PICTURE: thumbnails of 8 x 8 cells are equal up to rounding
    (:data:`TOLERANCE`), the files are not, as after a change of metadata, format, size or quality.
    """

    FILE = "same file"
    PICTURE = "same picture"


@dataclass(frozen=True)
class Duplicates:
    """Images that are the same as others.

    Attributes:
        likeness: in which sense.
        copies: images beyond the first of their group.
        across_splits: images that are the same as one in another split.
        other_labels: images that are the same as one with another label.
        other_places: images that are the same as one more than a kilometre away (of equal files,
            in a group where one is so far from the first).
        groups: rows of each group; pictures are grouped along chains, where each is like the next.
    """

    likeness: Likeness
    copies: int
    across_splits: int
    other_labels: int
    other_places: int
    groups: tuple[tuple[int, ...], ...]

    def renumbered(self, rows: Integers) -> Duplicates:
        """The same with row i called ``rows[i]``."""
        return replace(self, groups=tuple(tuple(rows[list(g)].tolist()) for g in self.groups))


def likes_of(contents: Contents) -> csr_array:
    """Which files show the same picture as another: ``(F, F)``, symmetric, False for one file.

    A picture is compared with the 15 whose four quarters are nearest in mean colour; in a crowd of
    more that near, pairs can be missed, but none is made up.
    """
    first = np.unique(contents.file, return_index=True)[1]
    cells = contents.thumbnails[first].reshape(len(first), CELLS * CELLS, 3)
    contrast = cells.astype(np.float32).std(axis=1).max(axis=1, initial=0)
    judged = first[contents.has_thumbnail[first] & (contrast >= CONTRAST)]
    a, b = _pairs(contents.thumbnails[judged])
    one, other = contents.file[judged[a]], contents.file[judged[b]]
    links = np.ones(len(a), dtype=bool)
    likes = csr_array((links, (one, other)), shape=(len(first), len(first)))
    return csr_array(likes + likes.T)


def _pairs(thumbnails: NDArray[np.uint8]) -> tuple[Integers, Integers]:
    """Pairs of thumbnails ``(K, 192)`` that differ by no more than the tolerance.

    Means of cells differ by no more than the cells do, so a search among means finds them.
    """
    if len(thumbnails) < 2:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    half = CELLS // 2
    means = thumbnails.reshape(-1, 2, half, 2, half, 3).mean(axis=(2, 4)).reshape(-1, 12)
    count = min(_NEIGHBOURS, len(thumbnails))
    _, near = cKDTree(means).query(
        means, k=count, p=np.inf, distance_upper_bound=TOLERANCE + 1e-6, workers=-1
    )
    a, b = np.repeat(np.arange(len(means)), count), near.reshape(-1)
    kept = (a != b) & (b < len(means))  # an index of K says that there is no more
    a, b = a[kept], b[kept]
    equal = np.empty(len(a), dtype=bool)
    for start in range(0, len(a), 65_536):
        part = slice(start, start + 65_536)
        differences = thumbnails[a[part]].astype(np.int16) - thumbnails[b[part]]
        equal[part] = np.abs(differences).max(axis=1, initial=0) <= TOLERANCE
    return a[equal], b[equal]


def same_files(table: GeoTable, file: Integers) -> Duplicates:
    """Rows with the same file.

    Args:
        table: N rows.
        file: ``(N,)`` number of the file of each row, from 0.
    """
    files = _Files.of(table, file)
    farthest = np.zeros(len(files.first), dtype=bool)
    np.logical_or.at(farthest, file, _far_apart(table.lonlat, table.lonlat[files.first[file]]))
    groups = _groups(file, np.bincount(file, minlength=1) > 1)
    return Duplicates(
        Likeness.FILE,
        copies=sum(map(len, groups)) - len(groups),
        across_splits=int((files.split.low < files.split.high)[file].sum()),
        other_labels=int((files.label.low < files.label.high)[file].sum()),
        other_places=int(farthest[file].sum()),
        groups=groups,
    )


def same_pictures(table: GeoTable, file: Integers, likes: csr_array) -> Duplicates:
    """Rows with the same picture in different files.

    Args:
        table: N rows.
        file: ``(N,)`` number of the file of each row, from 0.
        likes: from :func:`likes_of`.
    """
    files = _Files.of(table, file)
    a, b = likes.nonzero()
    places = table.lonlat[files.first]
    number, picture = connected_components(likes, directed=False)
    groups = _groups(picture[file].astype(np.int64), np.bincount(picture, minlength=number) > 1)

    def rows_with(odd: Mask) -> int:
        has = np.zeros(len(files.first), dtype=bool)
        has[a[odd]] = True
        return int(has[file].sum())

    return Duplicates(
        Likeness.PICTURE,
        copies=sum(map(len, groups)) - len(groups),
        across_splits=rows_with(files.split.differ(a, b)),
        other_labels=rows_with(files.label.differ(a, b)),
        other_places=rows_with(_far_apart(places[a], places[b])),
        groups=groups,
    )


@dataclass(frozen=True, eq=False)
class _Codes:
    """Lowest and highest known code of each file; a file without one has low > high."""

    low: Integers
    high: Integers

    @classmethod
    def of(cls, codes: Integers, file: Integers, count: int) -> _Codes:
        low, high = np.full(count, _UNKNOWN), np.full(count, -1)
        known = codes >= 0
        np.minimum.at(low, file[known], codes[known])
        np.maximum.at(high, file[known], codes[known])
        return cls(low, high)

    def differ(self, a: Integers, b: Integers) -> Mask:
        """Which pairs of files have known codes that differ."""
        known = (self.high[a] >= 0) & (self.high[b] >= 0)
        same = (self.low[a] == self.high[b]) & (self.high[a] == self.low[b])
        return np.asarray(known & ~same)


@dataclass(frozen=True, eq=False)
class _Files:
    """What is known of each file: its first row, and the splits and labels of all its rows."""

    first: Integers
    split: _Codes
    label: _Codes

    @classmethod
    def of(cls, table: GeoTable, file: Integers) -> _Files:
        first = np.unique(file, return_index=True)[1]
        split = table.split if has_splits(table.split) else None
        codes = np.full(len(file), -1) if split is None else split.codes
        known = (_Codes.of(some, file, len(first)) for some in (codes, table.labels))
        return cls(first, *known)


def _groups(number: Integers, kept: Mask) -> tuple[tuple[int, ...], ...]:
    """Rows of each number that is kept, in the order of their first row."""
    rows = np.flatnonzero(kept[number])
    rows = rows[np.argsort(number[rows], kind="stable")]
    starts = np.flatnonzero(np.diff(number[rows], prepend=-1))
    groups = np.split(rows, starts[1:]) if len(rows) else []
    return tuple(sorted(tuple(group.tolist()) for group in groups))


def _far_apart(lonlat: Floats, others: Floats) -> Mask:
    """Which pairs of places are both known and farther apart than :data:`FAR_KM`."""
    return great_circle_km(torch.from_numpy(lonlat), torch.from_numpy(others)).numpy() > FAR_KM


def findings_of_duplicates(duplicates: Duplicates) -> list[Finding]:
    """What copies do to training and testing."""
    same = duplicates.likeness is Likeness.FILE
    what = "copies (the same file)" if same else "copies (the same picture in other files)"
    serious = Severity.ERROR if same else Severity.WARNING
    minor = Severity.WARNING if same else Severity.INFO
    counts = (
        (serious, duplicates.across_splits, "in more than one split: tests would be too good"),
        (Severity.WARNING, duplicates.other_labels, "with different labels"),
        (Severity.WARNING, duplicates.other_places, "at places more than 1 km apart"),
        (minor, duplicates.copies, "of an earlier image: see duplicates.csv"),
    )
    return [
        Finding(severity, Topic.DUPLICATES, rows, f"{what} {which}")
        for severity, rows, which in counts
        if rows
    ]
