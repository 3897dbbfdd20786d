"""The files of a saved model, which replace those of another model all or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from geocsp.card_page import LIBRARY
from geocsp.errors import DataError
from geocsp.files import write_atomically

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
CARD_FILE = "README.md"
FILES = (CONFIG_FILE, WEIGHTS_FILE, CARD_FILE)
_DIGEST = re.compile(r"[0-9a-f]{64}")
_OURS = re.compile(rb"---\r?\n(.*\n)?library_name: *%s *\r?\n" % LIBRARY.encode(), re.DOTALL)
_HEAD = 4096
_ANY_SIZE = 2**16
"""Numbers up to this are taken with weights of any size."""


def digest_of(weights: bytes | Path) -> str:
    """SHA-256 of a file of weights, read in blocks, or of its content."""
    if isinstance(weights, bytes):
        return hashlib.sha256(weights).hexdigest()
    with weights.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def replace_all(folder: Path, weights: bytes, config: bytes, page: bytes) -> Path:
    """Write the three files.

    The config counts: until it is replaced, the weights that it names stay under their SHA-256.

    Raises:
        DataError: the folder has a README that is no model card of ours.
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _check_card(folder / CARD_FILE)
    _keep(folder)
    write_atomically(folder / WEIGHTS_FILE, weights)
    write_atomically(folder / CONFIG_FILE, config)
    write_atomically(folder / CARD_FILE, page)
    for path in folder.glob(_kept_name("*")):
        if _DIGEST.fullmatch(path.name[1:].removesuffix(".safetensors")):
            path.unlink()
    return folder


def find(folder: Path, digest: str) -> tuple[Path, bool]:
    """The weights that a config names, and whether they have the SHA-256 it says.

    Args:
        folder: with ``model.safetensors``.
        digest: SHA-256 in the config; empty in configs that name none, which take any weights.
    """
    weights = folder / WEIGHTS_FILE
    if not digest or digest_of(weights) == digest:
        return weights, True
    kept = folder / _kept_name(digest) if _DIGEST.fullmatch(digest) else weights
    return (kept, digest_of(kept) == digest) if kept.is_file() else (weights, False)


def check_sizes(config: dict[str, Any], weights: Path) -> None:
    """Refuse a config that asks for more than its weights hold, before anything is built.

    Raises:
        ValueError: a number of it, other than a seed, is above the bytes of the weights.
    """
    most = max(weights.stat().st_size, _ANY_SIZE)
    _check_numbers({name: value for name, value in config.items() if name != "card"}, most)


def _check_numbers(value: Any, most: int, name: str = "") -> None:
    if isinstance(value, dict):
        for inner, each in value.items():
            _check_numbers(each, most, inner)
    elif isinstance(value, list):
        for each in value:
            _check_numbers(each, most, name)
    elif isinstance(value, int) and value > most and "seed" not in name:
        raise ValueError(f"{name} is {value}, more than the weights can hold")


def _check_card(path: Path) -> None:
    if not path.exists():
        return
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if not _OURS.match(head):
        raise DataError(f"{path} is no model card of geocsp; save to another folder, or move it")


def _keep(folder: Path) -> None:
    """Let the config in place find its weights when the name of their file goes to others."""
    path, weights = folder / CONFIG_FILE, folder / WEIGHTS_FILE
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        actual = digest_of(weights)
        digest = config.get("weights")
    except (OSError, ValueError, AttributeError):
        return  # nothing to keep
    if digest is None:
        write_atomically(path, json.dumps(config | {"weights": actual}, indent=2).encode())
    if digest in (None, actual):
        with suppress(OSError):  # it is there, or the file system has no links
            os.link(weights, folder / _kept_name(actual))


def _kept_name(digest: str) -> str:
    return f".{digest}.safetensors"
