"""Reading other projects' files without running anything that they contain."""

from __future__ import annotations

import math
import pickle
import re
import reprlib
import threading
import warnings
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from torch import Tensor

from geocsp.errors import DataError

_Setting = TypeVar("_Setting")
_SETTINGS_KEYS = ("params", "hyper_parameters")
_STATES = ("state_dict", "model_state_dict", "model", "teacher")
_LOCK = threading.Lock()
"""What a pickle may name is a setting of the whole process: one file at a time."""


@dataclass(frozen=True)
class Checkpoint:
    """What a file holds, checked to be plain data.

    Attributes:
        path: where it came from, for messages.
        tensors: the state dict, float32, finite.
        settings: hyper-parameters as the file states them; empty if it has none.
    """

    path: Path
    tensors: dict[str, Tensor]
    settings: dict[str, Any] = field(default_factory=dict)

    def tensor(self, name: str, ndim: int) -> Tensor:
        """A tensor by name.

        Raises:
            DataError: it is missing or has another number of dimensions.
        """
        if name not in self.tensors:
            raise DataError(f"{self.path} lacks the tensor {name}; it is damaged or incomplete")
        found = self.tensors[name]
        if found.ndim != ndim:
            raise DataError(f"{self.path}: {name} has shape {tuple(found.shape)}, not {ndim} axes")
        return found

    def setting(self, name: str, kind: type[_Setting], default: _Setting | None = None) -> _Setting:
        """A hyper-parameter by name; whole numbers pass for fractions, and T and F for truth.

        Raises:
            DataError: it is missing and has no default, or is of another type.
        """
        value = _plain(self.settings.get(name, default))
        if value is None:
            raise DataError(f"{self.path} does not say {name}, without which it cannot be imported")
        if kind is bool and value in ("T", "F"):
            value = value == "T"
        if kind is float:
            value = _number(value)
        if isinstance(value, bool) != (kind is bool) or not isinstance(value, kind):
            raise DataError(
                f"{self.path}: {name} is {shown(self.settings[name])}, not a usable {kind.__name__}"
            )
        return value

    def numbers(self, name: str, default: Sequence[float]) -> list[float]:
        """A list of finite numbers by name.

        Raises:
            DataError: it is another kind of value.
        """
        values = self.settings.get(name, default)
        found = [_number(_plain(v)) for v in values] if isinstance(values, (list, tuple)) else []
        numbers = [number for number in found if number is not None]
        if len(numbers) != len(default):
            raise DataError(
                f"{self.path}: {name} is {shown(values)}, not a list of {len(default)} numbers"
            )
        return numbers

    def below(self, prefix: str) -> Checkpoint:
        """The tensors whose names start with a prefix, without it."""
        tensors = {
            k.removeprefix(prefix): t for k, t in self.tensors.items() if k.startswith(prefix)
        }
        return Checkpoint(self.path, tensors, self.settings)

    def count(self, pattern: str, *, step: int = 1) -> int:
        """How many of pattern.format(0), pattern.format(step), ... are there, without a gap."""
        number = 0
        while pattern.format(number * step) in self.tensors:
            number += 1
        return number


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a PyTorch or safetensors file, or a folder with ``model.safetensors``.

    Only tensors, containers, texts, numbers and numpy scalars are built; anything else in a pickle
    is refused, not executed.

    Raises:
        DataError: no such file, damaged, not plain data, or without tensors.
    """
    try:
        path = path / "model.safetensors" if path.is_dir() else path
        there = path.is_file()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    if not there:
        raise DataError(f"{path} does not exist or is no file")
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)
    whole = _dictionary(content, f"{path}: the file")
    key = next((key for key in _STATES if isinstance(whole.get(key), dict)), None)
    state = whole if key is None else _dictionary(whole[key], f"{path}: {key}")
    floats = {k: t for k, t in state.items() if isinstance(t, Tensor) and t.is_floating_point()}
    if not floats:
        raise DataError(f"{path} holds no tensors; is it a model's checkpoint?")
    _check_sizes(path, floats)
    settings: Any = next((whole[key] for key in _SETTINGS_KEYS if key in whole), {})
    tensors = {name: _checked(tensor, path, name) for name, tensor in floats.items()}
    return Checkpoint(path, tensors, _dictionary(settings, f"{path}: the hyper-parameters"))


def _read_safetensors(path: Path) -> Any:
    try:
        return load_safetensors(path.read_bytes())
    except (SafetensorError, OSError) as error:
        raise DataError(f"cannot read {path}: {error}") from error


def _read_pickle(path: Path) -> Any:
    try:
        _refuse_compressed(path)
        with _LOCK, torch.serialization.safe_globals(_NUMPY), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch about damaged files, which fail below
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL ([\w.]+)", str(error))
        if found is None:
            raise DataError(f"cannot read {path}: damaged, or no PyTorch file") from error
        raise DataError(
            f"{path} asks to run {found[1]}, which was not done: only tensors, containers and "
            "numbers are read. Save the state_dict and plain settings instead"
        ) from error
    except DataError:
        raise
    except Exception as error:  # a damaged pickle can fail in any way
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DataError(f"cannot read {path}: damaged, or no PyTorch file ({reason})") from error


def _refuse_compressed(path: Path) -> None:
    """PyTorch stores tensors uncompressed; a compressed one may grow beyond all memory."""
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
    stored = all(entry.compress_type == zipfile.ZIP_STORED for entry in entries)
    if not stored or sum(entry.file_size for entry in entries) > path.stat().st_size:
        raise DataError(f"{path} would grow when it is unpacked, as no PyTorch file does: refused")


class _NumpyType:
    """Stands for numpy.dtype in a pickle: keeps the name alone."""

    def __init__(self, name: str, *_: object) -> None:
        self.name = name
        self.big_endian = False

    def __setstate__(self, state: object) -> None:
        self.big_endian = isinstance(state, tuple) and ">" in state[1:2]


def _numpy_scalar(kind: _NumpyType, data: bytes) -> Any:
    """Stands for numpy's constructor of scalars in a pickle: plain numbers alone."""
    if not re.fullmatch(r"[biuf][1248]", kind.name):
        raise pickle.UnpicklingError(f"GLOBAL numpy.{kind.name} scalar")
    order = ">" if kind.big_endian else "<"
    return np.frombuffer(data, np.dtype(order + kind.name), count=1)[0]


_NUMPY: list[Any] = [
    (_numpy_scalar, "numpy.core.multiarray.scalar"),
    (_numpy_scalar, "numpy._core.multiarray.scalar"),
    (_NumpyType, "numpy.dtype"),
]


def _plain(value: Any) -> Any:
    """A numpy scalar as a Python number."""
    return value.item() if isinstance(value, np.generic) else value


def _number(value: Any) -> float | None:
    """A finite number, None for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _dictionary(value: Any, what: str) -> dict[str, Any]:
    """A dictionary with texts as keys, of the plain type whatever it claims to be."""
    if not isinstance(value, dict):
        raise DataError(f"{what} is a {type(value).__name__}, not a dictionary")
    plain = dict(dict.items(value))
    if not all(isinstance(key, str) for key in plain):
        raise DataError(f"{what} has keys that are no texts")
    return plain


def _check_sizes(path: Path, tensors: dict[str, Tensor]) -> None:
    """Refuse tensors that would be larger in memory than in the file.

    A tensor may be in a file under several names, but not many.
    """
    claimed = 0
    for name, tensor in tensors.items():
        if tensor.layout is not torch.strided or tensor.is_nested or tensor.device.type != "cpu":
            raise DataError(f"{path}: {shown(name)} is no ordinary tensor")
        claimed += tensor.numel() * tensor.element_size()
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            shape = tuple(tensor.shape)
            raise DataError(f"{path}: {shown(name)} claims shape {shape}, more than the file holds")
    if claimed > 4 * path.stat().st_size:
        raise DataError(f"{path}: its tensors claim {claimed} bytes, more than the file holds")


def _checked(tensor: Tensor, path: Path, name: str) -> Tensor:
    tensor = tensor.detach().to(torch.float32, copy=True).contiguous()
    if not bool(tensor.isfinite().all()):
        raise DataError(f"{path}: {shown(name)} holds numbers that are not finite")
    return tensor


def shown(value: object) -> str:
    """A value from a file as one short line."""
    return " ".join(reprlib.repr(value).split())
