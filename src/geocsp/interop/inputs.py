"""What an import may need beside the checkpoint: a raster, names of classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from geocsp.errors import DataError


def read_raster(path: Path) -> Tensor:
    """Read ``(rows, columns, bands)`` float32 from a ``.npy`` file.

    Raises:
        DataError: the file cannot be read or is no raster of numbers.
    """
    try:
        array = np.load(path, allow_pickle=False)
        raster = torch.from_numpy(array.astype(np.float32))
    except (OSError, EOFError, ValueError, TypeError, AttributeError) as error:
        raise DataError(f"cannot read {path}: {' '.join(str(error).split())}") from error
    if raster.ndim != 3:
        raise DataError(f"{path} has shape {tuple(raster.shape)}, not (rows, columns, bands)")
    return raster


def read_names(path: Path) -> list[str]:
    """Read one name a line.

    Raises:
        DataError: the file cannot be read, or names are empty or there twice.
    """
    try:
        names = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {path}: {error}") from error
    return checked_names(names, f"{path}: ")


def checked_names(names: Sequence[str], where: str = "class names: ") -> list[str]:
    """Names of classes as a list.

    Raises:
        DataError: a name is empty or no text, or is there twice.
    """
    if isinstance(names, str):
        raise DataError(f"{where}one text, not a list of names")
    first: dict[str, int] = {}
    for number, name in enumerate(names, start=1):
        if not isinstance(name, str) or not name.strip():
            raise DataError(f"{where}line {number} is empty or no text; each names one class")
        if first.setdefault(name, number) != number:
            raise DataError(f"{where}line {number} repeats {name!r} of line {first[name]}")
    return list(names)
