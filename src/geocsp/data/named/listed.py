"""Images of published lists, which know their place in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from geocsp.data.assemble import assemble
from geocsp.data.images import FileImages, Integers
from geocsp.data.options import ReadOptions
from geocsp.data.quarantine import Problem
from geocsp.data.table import Categories, Floats, GeoTable


@dataclass(frozen=True, eq=False)
class ListedImages(FileImages):
    """Image files of published lists, one list for each split.

    What others computed for the images of a list, such as features, finds its row by it, also
    after rows were left out (see :mod:`geocsp.data.named.csp_files`).

    Attributes:
        positions: ``(N,)`` int64 number of each image in the list of its split, from 0.
        trained: ``(N,)`` int64 number of each image among those of its list that CSP and geo_prior
            train on, which have a place and a user; -1 for the others.
        lengths: how many images each list has, by split.
    """

    positions: Integers = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    trained: Integers = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    lengths: Mapping[str, int] = field(default_factory=dict)

    def take(self, rows: Integers) -> ListedImages:
        """The files of some rows."""
        return replace(
            self,
            names=self.names.take(pa.array(rows)),
            positions=self.positions[rows],
            trained=self.trained[rows],
        )


@dataclass(frozen=True, eq=False)
class ListedSplit:
    """The rows of one split's list that can be used.

    Attributes:
        split: its name.
        file: where the list is.
        length: how many images the list has, also those that cannot be used.
        rows: ``(n,)`` int64 row of each image in the file.
        positions: ``(n,)`` int64 number of each image in the list.
        trained: ``(n,)`` whether CSP and geo_prior train on it.
        names: ``(n,)`` text: file names.
        lonlat: ``(n, 2)`` degrees, NaN where unknown.
        time: ``(n, 2)`` date and hour, NaN where unknown.
        codes: ``(n,)`` int64 class, -1 where unknown.
        users: n names of users, None where unknown.
        problems: the other rows.
        notes: what was guessed or repaired.
    """

    split: str
    file: Path
    length: int
    rows: Integers
    positions: Integers
    trained: NDArray[np.bool_]
    names: pa.ChunkedArray
    lonlat: Floats
    time: Floats
    codes: Integers
    users: Sequence[str | None]
    problems: Sequence[Problem] = ()
    notes: Sequence[str] = ()


def table_of(
    parts: Sequence[ListedSplit],
    class_names: tuple[str, ...],
    folder: str,
    options: ReadOptions,
    *,
    notes: Sequence[str] = (),
    problems: Sequence[Problem] = (),
) -> GeoTable:
    """One table of all splits; users are the groups.

    Args:
        parts: the splits, at least one.
        class_names: what the codes mean.
        folder: what file names are relative to.
        options: how to read.
        notes: what to tell besides what the splits tell.
        problems: rows that were left out besides those of the splits.
    """
    splits = np.repeat(np.arange(len(parts)), [len(part.rows) for part in parts])
    rows = np.concatenate([part.rows for part in parts])
    time = np.concatenate([part.time for part in parts])
    users = [user for part in parts for user in part.users]
    images = ListedImages(
        names=pa.chunked_array(
            [chunk for part in parts for chunk in part.names.chunks], pa.string()
        ),
        folder=folder,
        bands=options.bands,
        positions=np.concatenate([part.positions for part in parts]),
        trained=np.concatenate(
            [np.where(part.trained, np.cumsum(part.trained) - 1, -1) for part in parts]
        ),
        lengths={part.split: part.length for part in parts},
    )
    return assemble(
        images,
        np.concatenate([part.lonlat for part in parts]),
        time=None if np.isnan(time).all() else time,
        label=Categories(np.concatenate([part.codes for part in parts]), class_names),
        split=Categories(splits, tuple(part.split for part in parts)),
        group=Categories.of(users) if any(users) else None,
        problems=[*problems, *(problem for part in parts for problem in part.problems)],
        notes=[*notes, *(note for part in parts for note in part.notes)],
        origin=lambda row: (str(parts[splits[row]].file), int(rows[row])),
        keep_unplaced=options.keep_unplaced,
    )
