"""The one table that every reader makes: image, place, and what else is known."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from geocsp.data.images import FileImages, Images, Integers, is_url
from geocsp.data.options import listing
from geocsp.data.quarantine import Problem
from geocsp.errors import DataError
from geocsp.files import write_atomically

Floats = NDArray[np.float64]
ABOUT_KEY = b"geocsp"
"""Where a written table says how its images are opened."""


@dataclass(frozen=True, eq=False, repr=False)
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

    def __repr__(self) -> str:
        """Sizes, not the names."""
        return f"Categories({len(self):,} rows, {len(self.names):,} names)"

    @classmethod
    def of(cls, values: pa.ChunkedArray | pa.Array | Sequence[object]) -> Categories:
        """Number the different values that occur, sorted, numbers as numbers.

        Null, NaN, "" and the texts that programs write for them ("NA", "NULL" and the like) are
        unknown, but for "NA" among codes of two capitals, which is Namibia. Spaces around a name do
        not count. Whole numbers are the same with and without decimals, which missing values give
        them: 3, 3.0, "3" and "3.0" are all named "3" where all values are whole numbers.

        Raises:
            DataError: a column of lists or the like.
        """
        codes, names = _encode(_column(values))
        if "NA" in names and not _are_codes(names):
            names = [None if name == "NA" else name for name in names]
        kept = _sorted(name for name in names if name)
        place = {name: number for number, name in enumerate(kept)}
        new = np.array([place.get(name, -1) if name else -1 for name in [*names, None]], np.int64)
        return cls(new[codes], tuple(kept))

    def take(self, rows: Integers) -> Categories:
        """Some rows; all names stay."""
        return replace(self, codes=self.codes[rows])

    def texts(self) -> pa.Array:
        """The names row by row, null where unknown."""
        codes = pa.array(np.where(self.codes < 0, 0, self.codes), mask=self.codes < 0)
        return pa.DictionaryArray.from_arrays(codes, pa.array(self.names, pa.string()))


_UNKNOWN = ("", "N/A", "NaN", "nan", "NULL", "null", "<NA>")
"""What R, pandas and data bases write where there is no value."""
_NUMBER = re.compile(r"[+-]?\d{1,40}(\.\d{1,40})?([eE][+-]?\d{1,3})?", re.ASCII)
_WHOLE = re.compile(r"-?\d{1,40}(\.0{1,40})?", re.ASCII)


def _column(values: pa.ChunkedArray | pa.Array | Sequence[object]) -> pa.ChunkedArray:
    if isinstance(values, pa.ChunkedArray):
        return values
    if isinstance(values, pa.Array):
        return pa.chunked_array([values])
    texts = [None if v is None or v != v else str(v) for v in values]
    return pa.chunked_array([pa.array(texts, pa.string())])


def _encode(column: pa.ChunkedArray) -> tuple[Integers, list[str | None]]:
    """Index of every value, -1 where null, and the text of the values that occur, else None."""
    kind = column.type
    if pa.types.is_dictionary(kind) and any(c.dictionary.null_count for c in column.chunks):
        column = column.cast(kind.value_type)  # Arrow cannot unify such dictionaries
    elif pa.types.is_null(kind) or pa.types.is_float16(kind):  # it cannot number these either
        column = column.cast(pa.string() if pa.types.is_null(kind) else pa.float32())
    if not pa.types.is_dictionary(column.type):
        try:
            column = pc.dictionary_encode(column)
        except pa.ArrowNotImplementedError as error:
            raise DataError(f"a column of {kind} cannot name classes, splits or groups") from error
    column = column.unify_dictionaries()
    indices = [_signed(chunk.indices) for chunk in column.chunks]
    codes = np.concatenate([np.empty(0, np.int32), *indices])
    if len(codes) == 0:
        return codes.astype(np.int64), []
    values = column.chunk(0).dictionary.to_pylist()
    occurs = np.zeros(len(values) + 1, dtype=np.bool_)
    occurs[codes] = True
    texts = [_text(v) if used else None for v, used in zip(values, occurs[:-1], strict=True)]
    if all(text is None or _WHOLE.fullmatch(text) for text in texts):
        return codes, [text and text.partition(".")[0] for text in texts]
    return codes, texts


def _are_codes(names: Iterable[str | None]) -> bool:
    """Whether names are pairs of capitals, such as countries, of which NA is Namibia."""
    others = [name for name in names if name and name != "NA"]
    return bool(others) and all(len(name) == 2 and name.isupper() for name in others)


def _signed(indices: pa.Array) -> NDArray[np.signedinteger[Any]]:
    """Indices with -1 where null."""
    kind = indices.type if pa.types.is_signed_integer(indices.type) else pa.int64()
    return np.asarray(indices.cast(kind).fill_null(-1).to_numpy(zero_copy_only=False))


def _text(value: object) -> str | None:
    if value is None or value != value:
        return None
    text = value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
    text = text.strip()
    return None if text in _UNKNOWN else text


def _sorted(names: Iterable[str]) -> list[str]:
    """Different names in order: of their numbers if all are numbers, else of their letters."""
    different = set(names)
    if all(_NUMBER.fullmatch(name) for name in different):
        return sorted(different, key=lambda name: (Decimal(name), name))
    return sorted(different)


@dataclass(frozen=True, eq=False, repr=False)
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
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse columns of different length."""
        for name in ("lonlat", "time", "label", "split", "group"):
            column = getattr(self, name)
            if column is not None and len(column) != len(self.images):
                raise DataError(f"{len(self.images)} images but {len(column)} rows of {name}")

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        """One short line: sizes and what is known."""
        facts = [f"{len(self):,} images"]
        if self.label is not None:
            facts.append(f"{len(self.label.names):,} classes")
        if self.split is not None:
            facts.append(f"splits {listing(self.split.names)}")
        if self.group is not None:
            facts.append(f"{len(self.group.names):,} groups")
        if self.time is not None:
            facts.append("times")
        if self.problems:
            facts.append(
                "1 problem" if len(self.problems) == 1 else f"{len(self.problems):,} problems"
            )
        return f"GeoTable({', '.join(facts)})"

    def without(self, failures: Mapping[int, str]) -> tuple[GeoTable, Integers]:
        """The rows whose image can be used, and their numbers.

        Args:
            failures: why an image cannot be used, by row; they join the ``problems``.
        """
        names, bad = self.images.names, sorted(failures.items())
        told = (Problem(str(names[row].as_py()), None, why) for row, why in bad)
        rows = np.setdiff1d(np.arange(len(self)), np.array([row for row, _ in bad], dtype=np.int64))
        return replace(self.take(rows), problems=(*self.problems, *told)), rows

    def take(self, rows: Integers | NDArray[np.bool_]) -> GeoTable:
        """Some rows, by number or by mask; classes keep their numbers."""
        numbers = np.asarray(np.flatnonzero(rows) if rows.dtype == np.bool_ else rows, np.int64)
        label, split, group = (
            None if column is None else column.take(numbers)
            for column in (self.label, self.split, self.group)
        )
        return replace(
            self,
            images=self.images.take(numbers),
            lonlat=self.lonlat[numbers],
            time=None if self.time is None else self.time[numbers],
            label=label,
            split=split,
            group=group,
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
        digest.update(np.ascontiguousarray(self.lonlat).data)
        if self.time is not None:
            digest.update(np.ascontiguousarray(self.time).data)
        for name in ("label", "split", "group"):
            column: Categories | None = getattr(self, name)
            if column is not None:
                digest.update(repr((name, column.names)).encode())
                digest.update(np.ascontiguousarray(column.codes).data)
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

    def write(self, path: str | Path) -> Path:
        """Write all columns as Parquet, whole or not at all, for ``geocsp.read`` to read again.

        Images that are files keep their names if these are relative to the folder of ``path``, and
        get their full paths otherwise. Images within shards or tables are named, not copied.

        Raises:
            DataError: the name does not end in ``.parquet``, or the file cannot be written.
        """
        path = Path(path)
        if path.suffix != ".parquet":
            raise DataError(f"{path}: tables are written as Parquet; end the name in .parquet")
        table = self.to_arrow()
        if isinstance(self.images, FileImages):
            table = table.set_column(0, "image", _names_from(path.parent, self.images))
        about = {"files": isinstance(self.images, FileImages), "bands": asdict(self.images.bands)}
        table = table.replace_schema_metadata({ABOUT_KEY: json.dumps(about)})
        content = pa.BufferOutputStream()
        pq.write_table(table, content, compression="zstd")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            return write_atomically(path, memoryview(content.getvalue()))
        except OSError as error:
            raise DataError(f"cannot write {path}: {error.strerror}") from error


def _names_from(folder: Path, images: FileImages) -> pa.ChunkedArray:
    """Names of files as they are to be written into a table in a folder."""
    names, parent = images.names, images.folder
    if is_url(parent):
        parent = parent.rstrip("/")
    elif Path(parent).absolute() == folder.absolute():
        return names
    else:
        parent = str(Path(parent).absolute())
    complete = pc.match_substring_regex(names, r"^/|^[A-Za-z]:[/\\]|://")
    try:
        return pc.if_else(
            complete, names, pc.binary_join_element_wise(pa.scalar(parent), names, "/")
        )
    except UnicodeEncodeError as error:
        raise DataError(f"{parent!r} cannot be written as text; rename the folder") from error
