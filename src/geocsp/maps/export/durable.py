"""Writing that has reached the disk when it returns."""

from __future__ import annotations

import os
from pathlib import Path


def write_at(path: Path, offset: int, content: bytes | memoryview) -> None:
    """Overwrite a part of a file, and wait until it is on the disk."""
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync(path: Path) -> None:
    """Wait until a file is on the disk."""
    with path.open("r+b") as file:
        os.fsync(file.fileno())
