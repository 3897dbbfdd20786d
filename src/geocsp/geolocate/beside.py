"""Folders of indexes beside the embeddings that they are of: whole or not there."""

from __future__ import annotations

import shutil
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from geocsp.errors import DataError
from geocsp.geolocate.store import INDEX_PREFIX, PlaceStore

_SIZES = "sizes.txt"


def index_folder(store: PlaceStore, name: str, build: Callable[[Path], None]) -> Path:
    """The folder of an index, built if it is not there or if a file of it has another size.

    Args:
        store: the embeddings.
        name: of the kind of index and its settings.
        build: writes the index into an empty folder.

    Raises:
        DataError: the cache folder cannot be written to.
    """
    folder = store.folder / f"{INDEX_PREFIX}{name}"
    if _is_whole(folder):
        return folder
    try:
        with FileLock(store.folder / f"{INDEX_PREFIX}lock"):
            if not _is_whole(folder):  # another process may have been first
                _build(folder, build)
    except OSError as error:
        raise DataError(f"cannot write an index to {folder}: {error.strerror or error}") from error
    return folder


def _build(folder: Path, build: Callable[[Path], None]) -> None:
    if folder.exists():
        warnings.warn(f"{folder} is damaged; made again", stacklevel=4)
        shutil.rmtree(folder)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".index-") as scratch:
        made = Path(scratch) / "made"
        made.mkdir()
        build(made)
        (made / _SIZES).write_text(_sizes(made))
        made.replace(folder)


def _is_whole(folder: Path) -> bool:
    try:
        return (folder / _SIZES).read_text() == _sizes(folder)
    except OSError:
        return False


def _sizes(folder: Path) -> str:
    """Names and sizes of all files."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != _SIZES)
    return "".join(f"{path.stat().st_size} {path.relative_to(folder)}\n" for path in files)
