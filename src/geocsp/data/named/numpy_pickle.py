"""Arrays that ``numpy.ndarray.dump`` wrote, read without running what a pickle can ask for.

Such a file names three things of numpy and two of Python, for which stand-ins are put that only
keep what they are given; anything else is refused.
"""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geocsp.errors import DataError

_NPY = b"\x93NUMPY"


def read_dumped(path: Path) -> NDArray[Any]:
    """Read an array of numbers from a ``.npy`` file, saved or dumped.

    Raises:
        DataError: no such file, damaged, or not one array of plain numbers.
    """
    try:
        with path.open("rb") as file:
            if file.read(len(_NPY)) == _NPY:
                file.seek(0)
                array: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
                return array
            file.seek(0)
            found = _Unpickler(file).load()
        if not isinstance(found, _Array):
            raise pickle.UnpicklingError(f"a {type(found).__name__}")
        return found.array()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    except Exception as error:  # a damaged pickle can fail in any way
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DataError(f"{path} is not an array of numbers alone ({reason})") from error


class _Type:
    """Stands for numpy.dtype: keeps its name and byte order."""

    def __init__(self, name: str, *_: object) -> None:
        self.name, self.order = name, "<"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = ">" if state[1] == ">" else "<"

    def type(self) -> np.dtype[Any]:
        if not isinstance(self.name, str) or not re.fullmatch(r"[biuf][1248]", self.name):
            raise pickle.UnpicklingError(f"numbers of type {self.name!r:.50}")
        return np.dtype(self.order + self.name)


class _Array:
    """Stands for an array: keeps its shape, type and bytes."""

    def __init__(self, *_: object) -> None:
        self.state: tuple[Any, ...] = ()

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.state = state

    def array(self) -> NDArray[Any]:
        _, shape, kind, is_fortran, content = self.state
        flat = np.frombuffer(content, kind.type())
        return flat.reshape(shape, order="F" if is_fortran else "C")


class _Ndarray:
    """Stands for the class numpy.ndarray, which is named and not called."""


def _encode(text: str, encoding: str) -> bytes:
    """Stands for codecs.encode: bytes that Python 2's way of pickling wrote as text."""
    return text.encode("latin-1")


def _nothing() -> bytes:
    """Stands for bytes without arguments, which is how Python 2's way writes no bytes at all."""
    return b""


_STAND_INS: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("numpy", "ndarray"): _Ndarray,
    ("numpy", "dtype"): _Type,
    ("_codecs", "encode"): _encode,
    ("__builtin__", "bytes"): _nothing,
}


class _Unpickler(pickle._Unpickler):  # the one in Python: it takes no more memory than the file
    """Builds plain values and stand-ins only."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _STAND_INS:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which was not run")
        return _STAND_INS[module, name]
