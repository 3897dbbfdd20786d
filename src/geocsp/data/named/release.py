"""What every named data set shares: which files it has, and where it is to be had."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from geocsp.errors import DataError


@dataclass(frozen=True)
class Release:
    """A data set as its authors publish it.

    Attributes:
        title: its name, for messages.
        page: where it is to be had.
    """

    title: str
    page: str

    def file(self, root: Path, *places: str) -> Path:
        """The first of some files below the root that is there.

        Raises:
            DataError: none is; the message names the first.
        """
        found = first_file(root, *places)
        if found is None:
            raise self.missing(root / places[0])
        return found

    def missing(self, path: Path) -> DataError:
        """The error that says that a file or folder of this data set is not there."""
        return DataError(f"{path} does not exist; {self.title} is to be had at {self.page}")


def first_file(root: Path, *places: str) -> Path | None:
    """The first of some files below the root that is there, None if none is."""
    return next((root / place for place in places if (root / place).is_file()), None)


def first_folder(root: Path, *places: str) -> str:
    """The first of some folders below the root that is there, otherwise the first of them."""
    return next((place for place in places if (root / place).is_dir()), places[0])


def read_text(path: Path) -> str:
    """What a text file in UTF-8 holds.

    Raises:
        DataError: it cannot be read, or is no text.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is damaged or no text; unpack it again from its archive"
        ) from error


def read_json(path: Path, keep: frozenset[str] | None = None) -> Any:
    """What a JSON file holds.

    Args:
        path: the file.
        keep: the only keys of objects to keep, which saves memory in large files.

    Raises:
        DataError: it cannot be read, or is no JSON.
    """

    def trim(record: dict[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in record.items() if key in keep} if keep else record

    try:
        return json.loads(read_text(path), object_hook=trim if keep else None)
    except DataError:
        raise
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{path} is damaged or no JSON ({error}); unpack it again from its archive"
        ) from error


def text_of(value: object) -> str | None:
    """A text or whole number as text; None for everything else and for the empty text."""
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        return None
    return clean(str(value)) or None


def clean(text: str) -> str:
    """A text with "?" for halves of characters, which JSON can spell and no file can hold."""
    return text.encode("utf-8", "replace").decode()


def texts_of(values: Iterable[object]) -> pa.ChunkedArray:
    """A column of texts; null for everything that is no text or whole number."""
    return pa.chunked_array([pa.array([text_of(value) for value in values], pa.string())])


def number_of(value: object) -> float:
    """A number, also one written as text; NaN for everything else."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return float("nan")
    try:
        return float(value)
    except (ValueError, OverflowError):
        return float("nan")


@dataclass(frozen=True)
class Classes:
    """The classes of a data set in the order of their official numbers.

    Attributes:
        names: what they are called.
        codes: index into ``names`` of each official number.
    """

    names: tuple[str, ...]
    codes: Mapping[object, int]

    @classmethod
    def of(cls, pairs: Iterable[tuple[object, object]]) -> Classes:
        """Order pairs of official number and name; what has no whole number is left out."""
        named = {
            number: clean(str(name))
            for number, name in pairs
            if isinstance(number, int) and not isinstance(number, bool)
        }
        order = sorted(named)
        return cls(tuple(named[n] for n in order), {n: code for code, n in enumerate(order)})
