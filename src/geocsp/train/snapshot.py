"""A file that holds the state of a run, with a checksum."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from geocsp.errors import DataError

_SUM, _TEXTS = "sha256", ("facts", "identity")


@dataclass(frozen=True, eq=False)
class Snapshot:
    """What a file holds: safetensors with two texts of JSON and a checksum of all in its header.

    Attributes:
        tensors: by name.
        facts: numbers and texts, in lists and dictionaries; numbers come back exactly.
        identity: what the run goes by, see :func:`geocsp.train.identity.identity_of`.
    """

    tensors: Mapping[str, Tensor]
    facts: Mapping[str, Any]
    identity: Mapping[str, str]

    def write(self, path: Path) -> None:
        """Write a file whole or not at all; when this returns, it is on the disk.

        Raises:
            DataError: the folder cannot be written, or the disk is full.
        """
        tensors = _separate(self.tensors)
        texts = {name: json.dumps(dict(getattr(self, name))) for name in _TEXTS}
        temporary = temporary_of(path)
        try:
            save_file(tensors, temporary, texts | {_SUM: _checksum(tensors, texts)})
            _sync(temporary)
            temporary.replace(path)
            _sync(path.parent)
        except (OSError, SafetensorError) as error:
            raise DataError(
                f"cannot write {path}: {error}; make room there or choose another folder"
            ) from error
        finally:
            temporary.unlink(missing_ok=True)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file, onto the CPU.

        Raises:
            DataError: it is missing, damaged, or no such file.
        """
        try:
            with safe_open(path, framework="pt") as file:
                header = file.metadata()
                tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
            texts = {name: header[name] for name in _TEXTS}
            parts = {name: json.loads(text) for name, text in texts.items()}
            if header[_SUM] != _checksum(tensors, texts):
                raise ValueError("its checksum is another one")
        except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
            raise DataError(f"{path} is missing or damaged: {error}") from error
        return cls(tensors, **parts)


def temporary_of(path: Path) -> Path:
    """Where a file is while it is being written."""
    return path.with_name(f".{path.name}.tmp")


def _separate(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors on the CPU, in one piece each; those that share memory are copied."""
    separate: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in tensors.items():
        packed = tensor.detach().cpu().contiguous()
        storage = packed.untyped_storage().data_ptr()
        separate[name] = packed.clone() if storage in seen else packed
        seen.add(storage)
    return separate


def _checksum(tensors: Mapping[str, Tensor], texts: Mapping[str, str]) -> str:
    digest = hashlib.sha256(json.dumps(texts, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _sync(path: Path) -> None:
    """Wait until a file or folder is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
