"""Reading other projects' files without running anything that they contain."""

from __future__ import annotations

import pickle
import re
import zipfile
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
        value = self.settings.get(name, default)
        if value is None:
            raise DataError(f"{self.path} does not say {name}, without which it cannot be imported")
        if kind is bool and value in ("T", "F"):
            value = value == "T"
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
            raise DataError(f"{self.path}: {name} is {value!r}, not of type {kind.__name__}")
        return value

    def below(self, prefix: str) -> Checkpoint:
        """The tensors whose names start with a prefix, without it."""
        tensors = {
            k.removeprefix(prefix): t for k, t in self.tensors.items() if k.startswith(prefix)
        }
        return Checkpoint(self.path, tensors, self.settings)

    def count(self, pattern: str) -> int:
        """How many of pattern.format(0), pattern.format(1), ... are there, without a gap."""
        number = 0
        while pattern.format(number) in self.tensors:
            number += 1
        return number


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a PyTorch or safetensors file, or a folder with ``model.safetensors``.

    Only tensors, containers, texts, numbers and numpy scalars are built; anything else in a pickle
    is refused, not executed.

    Raises:
        DataError: no such file, damaged, not plain data, or without tensors.
    """
    path = path / "model.safetensors" if path.is_dir() else path
    if not path.is_file():
        raise DataError(f"{path} does not exist or is no file")
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)
    if not isinstance(content, dict):
        raise DataError(f"{path} holds {_described(content)}, not a dictionary of tensors")
    state = content.get("state_dict", content)
    if not isinstance(state, dict):
        raise DataError(f"{path}: state_dict is {_described(state)}, not a dictionary of tensors")
    tensors = {str(k): _checked(t, f"{path}: {k}", path) for k, t in state.items() if _is_float(t)}
    if not tensors:
        raise DataError(f"{path} holds no tensors; is it a model's checkpoint?")
    settings: Any = next((content[key] for key in _SETTINGS_KEYS if key in content), {})
    if not isinstance(settings, dict):
        raise DataError(f"{path}: hyper-parameters are {_described(settings)}, not a dictionary")
    return Checkpoint(path, tensors, {str(k): _plain(value) for k, value in settings.items()})


def _read_safetensors(path: Path) -> Any:
    try:
        return load_safetensors(path.read_bytes())
    except (SafetensorError, OSError) as error:
        raise DataError(f"cannot read {path}: {error}") from error


def _read_pickle(path: Path) -> Any:
    try:
        _refuse_compressed(path)
        with torch.serialization.safe_globals(_NUMPY):
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
        for entry in archive.infolist():
            if entry.compress_type != zipfile.ZIP_STORED or entry.file_size > path.stat().st_size:
                raise DataError(f"{path} is compressed inside ({entry.filename}): refused")


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
        raise pickle.UnpicklingError(f"numpy scalar of type {kind.name}")
    order = ">" if kind.big_endian else "<"
    return np.frombuffer(data, np.dtype(order + kind.name), count=1)[0]


_NUMPY: list[Any] = [
    (_numpy_scalar, "numpy.core.multiarray.scalar"),
    (_numpy_scalar, "numpy._core.multiarray.scalar"),
    (_NumpyType, "numpy.dtype"),
]


def _plain(value: Any) -> Any:
    """Numpy scalars as Python numbers, in lists and tuples too."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    return value


def _is_float(value: object) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


def _checked(tensor: Tensor, name: str, path: Path) -> Tensor:
    if tensor.layout is not torch.strided or tensor.device.type != "cpu":
        raise DataError(f"{name} is no ordinary tensor")
    if tensor.numel() * tensor.element_size() > path.stat().st_size:
        raise DataError(f"{name} claims shape {tuple(tensor.shape)}, more than the file holds")
    tensor = tensor.detach().to(torch.float32, copy=True).contiguous()
    if not bool(tensor.isfinite().all()):
        raise DataError(f"{name} holds numbers that are not finite; the training had failed")
    return tensor


def _described(value: object) -> str:
    return f"a {type(value).__name__}"
