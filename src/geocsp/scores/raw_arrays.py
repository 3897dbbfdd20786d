"""Scores in NumPy's files: NPY, read where they lie, and NPZ, read block by block."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from geocsp.errors import DataError
from geocsp.scores.blocks import Report, rows_per_block
from geocsp.scores.raw import RawBlock, RawScores, matrix

_SCORES, _PLACES, _CLASSES = "scores", "lonlat", "classes"


class ArrayScores(RawScores):
    """Scores as an array ``(N, C)``.

    An NPZ file holds it under the name "scores", or as its only other array of two axes. Beside it
    there may be "classes" ``(C,)``, "lonlat" ``(N, 2)`` and further columns ``(N,)`` such as
    "lon", "lat", "id", "time" and "label".

    Args:
        source: path of an ``.npy`` or ``.npz`` file.
        classes: file with C names, one on each line.

    Raises:
        DataError: it cannot be read, or arrays and names do not fit together. Files with Python
            objects in them are not opened.
    """

    def __init__(self, source: str, classes: Path | None) -> None:
        self.source = source
        self._member: str | None = None
        self._beside: dict[str, pa.Array] = {}
        try:
            named = self._open()
        except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(f"{source} cannot be read: {' '.join(str(error).split())}") from error
        self.rows, columns = self._shape
        self._columns = _read_names(classes) if classes is not None else named
        self._columns = self._columns or tuple(str(number) for number in range(columns))
        if len(self._columns) != columns:
            raise DataError(
                f"{source} has {columns:,} columns of scores, but {len(self._columns):,} names "
                f"are in {classes or 'its array classes'}"
            )
        for name, column in self._beside.items():
            if len(column) != self.rows:
                raise DataError(f"{source}: {name!r} has {len(column):,} rows, not {self.rows:,}")
        self.names = (*self._columns, *self._beside)
        floating = [n for n, column in self._beside.items() if pa.types.is_floating(column.type)]
        self.decimals = frozenset(floating)

    def _open(self) -> tuple[str, ...]:
        """Look at the arrays; the names of classes in the file, if there are any."""
        if not zipfile.is_zipfile(self.source):
            array = np.load(self.source, mmap_mode="r", allow_pickle=False)
            self._shape = _checked(array.shape, array.dtype, self.source)
            return ()
        with zipfile.ZipFile(self.source) as archive:
            shapes = {name: _header(archive, name) for name in archive.namelist()}
            self._member = _scores_among(shapes, self.source)
            self._shape = _checked(*shapes.pop(self._member)[::2], self.source)
            others = {
                name.removesuffix(".npy"): _small(archive, name)
                for name, (shape, _, _) in shapes.items()
                if len(shape) == 1 or name == f"{_PLACES}.npy"
            }
        classes = others.pop(_CLASSES, None)
        if _PLACES in others:
            lonlat = others.pop(_PLACES)
            if lonlat.ndim != 2 or lonlat.shape[1] != 2:
                raise DataError(f"{self.source}: lonlat must be (N, 2), got {lonlat.shape}")
            others |= {"lon": lonlat[:, 0], "lat": lonlat[:, 1]}
        self._beside = {name: pa.array(array) for name, array in others.items()}
        return () if classes is None else tuple(str(name) for name in classes)

    def blocks(
        self, classes: Sequence[str], beside: Sequence[str], report: Report
    ) -> Iterator[RawBlock]:
        """All rows."""
        place = {name: number for number, name in enumerate(self._columns)}
        order = [place[name] for name in classes]
        start = 0
        for array in self._parts(rows_per_block(len(self._columns))):
            rows = np.arange(start, start + len(array))
            columns = [array[:, number] for number in order]
            known = {name: self._beside[name].slice(start, len(rows)) for name in beside}
            yield RawBlock(self.source, rows, 0, matrix(columns, len(rows)), known)
            start += len(rows)

    def _parts(self, rows: int) -> Iterator[NDArray[Any]]:
        if self._member is None:
            whole = np.load(self.source, mmap_mode="r", allow_pickle=False)
            for start in range(0, len(whole), rows):
                yield np.asarray(whole[start : start + rows])
            return
        with zipfile.ZipFile(self.source) as archive, archive.open(self._member) as file:
            shape, by_columns, kind = _read_header(file)
            if by_columns:
                yield from _whole_parts(archive, self._member, rows)
                return
            for start in range(0, shape[0], rows):
                count = min(rows, shape[0] - start)
                content = file.read(count * shape[1] * kind.itemsize)
                yield np.frombuffer(content, kind).reshape(count, shape[1])


_Header = tuple[tuple[int, ...], bool, np.dtype[Any]]


def _read_header(file: IO[bytes]) -> _Header:
    """Shape, whether columns lie together, and type of an array."""
    version = np.lib.format.read_magic(file)
    read = (
        np.lib.format.read_array_header_1_0
        if version == (1, 0)
        else np.lib.format.read_array_header_2_0
    )
    return read(file)


def _header(archive: zipfile.ZipFile, name: str) -> _Header:
    with archive.open(name) as file:
        return _read_header(file)


def _small(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    with archive.open(name) as file:
        return np.asarray(np.lib.format.read_array(file, allow_pickle=False))


def _whole_parts(archive: zipfile.ZipFile, name: str, rows: int) -> Iterator[NDArray[Any]]:
    """An array whose columns lie together: there is no reading it by rows."""
    whole = _small(archive, name)
    for start in range(0, len(whole), rows):
        yield whole[start : start + rows]


def _scores_among(shapes: Mapping[str, _Header], source: str) -> str:
    if f"{_SCORES}.npy" in shapes:
        return f"{_SCORES}.npy"
    tables = [n for n, (shape, _, _) in shapes.items() if len(shape) == 2 and n != f"{_PLACES}.npy"]
    if len(tables) == 1:
        return tables[0]
    known = ", ".join(name.removesuffix(".npy") for name in shapes) or "none"
    raise DataError(f"{source} has no array 'scores'; its arrays are {known}")


def _checked(shape: tuple[int, ...], kind: np.dtype[Any], source: str) -> tuple[int, int]:
    if len(shape) != 2 or not (np.issubdtype(kind, np.floating) or np.issubdtype(kind, np.integer)):
        raise DataError(f"{source}: scores must be numbers (N, classes), got {shape} of {kind}")
    return shape[0], shape[1]


def _read_names(path: Path) -> tuple[str, ...]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise DataError(f"{path} cannot be read: {reason}") from error
    return tuple(line.strip() for line in lines if line.strip())
