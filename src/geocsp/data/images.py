"""Where the images of a table are and how each is opened."""

from __future__ import annotations

import errno
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self, overload
from urllib.parse import unquote

import fsspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from geocsp.errors import DataError, MissingExtraError

Integers = NDArray[np.int64]
_CHANGES = ("size", "ETag", "mtime", "LastModified", "updated", "created")
Raw = bytes | Path | Image.Image | NDArray[Any]
"""An image before decoding: an encoded file, its path, a picture, or (H, W, C) numbers."""


@dataclass(frozen=True)
class Bands:
    """Which bands of a raster make the channels, and how their numbers become bytes.

    Attributes:
        numbers: band numbers from 1, in the order of the channels; None: all of them.
        low: value that becomes 0; None: numbers stay as they are.
        high: value that becomes 255.
    """

    numbers: tuple[int, ...] | None = None
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        """Refuse bands that do not exist and half a range."""
        if self.numbers is not None and (not self.numbers or min(self.numbers) < 1):
            raise ValueError(f"bands are numbered from 1, got {self.numbers}")
        if (self.low is None) != (self.high is None):
            raise ValueError(f"give both ends of the range or none: {self.low}, {self.high}")
        if self.low is not None and self.high is not None and not self.low < self.high:
            raise ValueError(f"the range must rise, got {self.low:g} to {self.high:g}")
        if self.low is not None and self.high is not None:  # 3000 and 3000.0 are one range
            object.__setattr__(self, "low", float(self.low))
            object.__setattr__(self, "high", float(self.high))


class Images(ABC):
    """The images of a table, by row.

    Attributes:
        names: ``(N,)`` text: what the column ``image`` says; a path, a URL, or a member of a shard.
        bands: how rasters become channels.
    """

    names: pa.ChunkedArray
    bands: Bands

    def __len__(self) -> int:
        return len(self.names)

    @abstractmethod
    def load(self, row: int) -> Raw:
        """The image of a row, not decoded yet.

        Raises:
            OSError: it is not there, or cannot be read.
            DataError: it cannot be used; the message says why.
        """

    @abstractmethod
    def stamps(self) -> Sequence[str]:
        """A text for every row that changes whenever its file does, such as size and time."""

    @abstractmethod
    def take(self, rows: Integers) -> Self:
        """The images of some rows."""


@dataclass(frozen=True, eq=False)
class FileImages(Images):
    """Images that are files: local paths, or URLs of any file system that fsspec knows.

    Attributes:
        names: ``(N,)`` paths or URLs.
        folder: what relative paths are relative to; a path or a URL.
        bands: how rasters become channels.
    """

    names: pa.ChunkedArray
    folder: str = ""
    bands: Bands = Bands()

    def path(self, row: int) -> str:
        """Full path or URL of a row.

        Raises:
            DataError: the row names no image.
        """
        name = self.names[row].as_py()
        if not name:
            raise DataError("names no image")
        return full_path(self.folder, name)

    def load(self, row: int) -> Raw:
        """Path of a local file, content of a remote one."""
        return load_file(self.path(row))

    def stamps(self) -> Sequence[str]:
        """Size and time of change of every file; "missing" where there is none."""
        return [self._stamp(row) for row in range(len(self))]

    def _stamp(self, row: int) -> str:
        try:
            return stamp_of(self.path(row))
        except DataError:
            return "missing"

    def take(self, rows: Integers) -> FileImages:
        """The files of some rows."""
        return replace(self, names=self.names.take(pa.array(rows)))


_FILE_SYSTEMS = {"http": "aiohttp", "https": "aiohttp", "s3": "s3fs", "gs": "gcsfs"}
_REFUSED = (400, 401, 402, 403, 405, 406, 410, 414, 451)
"""HTTP's ways to say that there will be no such file however often one asks."""


class RowTexts(Sequence[str]):
    """Texts made when they are asked for, so that millions of rows fill no memory."""

    def __init__(self, count: int, make: Callable[[int], str]) -> None:
        self._count, self._make = count, make

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, row: int) -> str: ...
    @overload
    def __getitem__(self, row: slice) -> list[str]: ...
    def __getitem__(self, row: int | slice) -> str | list[str]:
        rows = range(self._count)[row]
        return self._make(rows) if isinstance(rows, int) else [self._make(r) for r in rows]


def is_url(path: str) -> bool:
    """Whether a text names a place on another file system, such as ``s3://bucket/a.jpg``."""
    return "://" in path


def load_file(path: str) -> Path | bytes:
    """Path of a local file, content of a remote one.

    Raises:
        OSError: the remote file is not there, or cannot be read.
        MissingExtraError: its file system is not installed.
        DataError: no file system is known, or installed, for such a URL.
    """
    local = _local(path)
    if local is not None:
        return local
    try:
        with fsspec.open(path, "rb") as file:
            content: bytes = file.read()
    except OSError:
        raise
    except ImportError as error:
        scheme = path.partition("://")[0].lower()
        package = _FILE_SYSTEMS.get(scheme, f"what opens {scheme}://")
        raise MissingExtraError(package, "web") from error
    except ValueError as error:
        raise DataError(f"{path} cannot be opened: {error}") from error
    except Exception as error:  # remote systems have errors of their own
        status = getattr(error, "status", 0)
        if status in _REFUSED:
            raise PermissionError(errno.EACCES, f"HTTP status {status}") from error
        raise OSError(errno.EIO, f"{path}: {error or type(error).__name__}") from error
    return content


def stamp_of(path: str) -> str:
    """Size and time of change of a file, or what its file system tells; "missing" if not there."""
    try:
        local = _local(path)
        if local is not None:
            status = local.stat()
            return f"{status.st_size} {status.st_mtime_ns}"
        system, inner = fsspec.url_to_fs(path)
        facts = system.info(inner)
    except (OSError, ValueError, ImportError):
        return "missing"
    known = (facts.get(key) for key in _CHANGES)
    return " ".join(str(value) for value in known if value is not None)


def _local(path: str) -> Path | None:
    """A path on this computer, also as ``file://`` with or without escapes; else None."""
    if not is_url(path):
        return Path(path)
    if not path.lower().startswith("file:///"):
        return None
    plain = Path(path[len("file://") :])
    return plain if plain.exists() else Path(unquote(str(plain)))


def full_path(folder: str, name: str) -> str:
    """A path or URL that may be relative to a folder, which may be a path or a URL."""
    if is_url(name) or not folder:
        return name
    if is_url(folder):
        return f"{folder.rstrip('/')}/{name}"
    return str(Path(folder) / name)
