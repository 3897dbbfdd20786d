"""Writing files whole or not at all."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def write_atomically(path: Path, content: bytes | memoryview) -> Path:
    """Write a file so that readers, also after a crash, see all of it or none.

    The content goes to a temporary file beside ``path`` that then takes its name.
    """
    temporary = _beside(path, content)
    try:
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file beside ``path`` that takes its name when the block ends well.

    If the block fails, it is removed; if the block itself removes it, nothing takes its place.

    Raises:
        OSError: the folder cannot be written.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        if temporary.exists():
            temporary.chmod(0o644)
            temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_new(path: Path, content: bytes) -> None:
    """Write a file whole unless it is there: of several writers at once, one wins."""
    temporary = _beside(path, content)
    try:
        os.link(temporary, path)
    except FileExistsError:
        pass
    except OSError:  # a file system without links
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def record_path(output: Path) -> Path:
    """Where the record of an output without metadata is: ``out.csv`` has ``out.csv.json``."""
    return output.with_name(f"{output.name}.json")


def write_record(output: Path, about: Mapping[str, Any]) -> Path:
    """Write what an output was made with beside it.

    Raises:
        OSError: it cannot be written.
    """
    return write_atomically(record_path(output), json.dumps(about, indent=1).encode())


def _beside(path: Path, content: bytes | memoryview) -> Path:
    """A temporary file with this content in the same folder."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        temporary.chmod(0o644)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return temporary
